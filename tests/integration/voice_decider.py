"""A decider in a process of its own, to be killed: every call goes to the phone given. Run with: evapi port, phone URI."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Collection

from firstring.channels.voice.contract import CallEvent, CallOffer, RouteAnswer, route
from firstring.channels.voice.kamailio import KamailioAdapter


class OnePhone:
    """A Switchboard that knows one phone."""

    def __init__(self, uri: str) -> None:
        self._answer = RouteAnswer(routes=(route(uri, {"X-Firstring-Decision": "one_phone"}),))

    async def offered(self, offer: CallOffer) -> RouteAnswer | None:
        return self._answer

    async def no_agent(self, event: CallEvent) -> RouteAnswer | None:
        return None

    async def event(self, event: CallEvent) -> None:
        return None

    async def reconcile(self, adapter: str, live_call_ids: Collection[str], answered_call_ids: Collection[str] = ()) -> None:
        return None


async def main() -> None:
    adapter = KamailioAdapter(OnePhone(sys.argv[2]), port=int(sys.argv[1]))
    await adapter.start()
    await adapter.wait_connected()
    print("connected", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
