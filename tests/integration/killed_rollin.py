"""A roll-in that is killed with SIGKILL. Run by test_rollin_killed.py.

Arguments: JSON {"connect": {...}, "master_key": hex, "tenant": id, "version": number, "at": name, "nth": which time}.
`at` is a step of the progress, or the name of a function of the switch. Exits 0 if it never came.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import Any

from firstring.bulk.versions import switch
from firstring.bulk.versions.rollin import roll_in
from firstring.ports import SystemClock
from firstring.store.database import Database

PARTS = ("_touched", "set_state", "_link_touched")


async def life(plan: dict[str, Any]) -> None:
    seen = 0
    switch.SETTLED_RECORDS = 60  # type: ignore[misc]  # several transactions for few records

    def maybe(name: str) -> None:
        nonlocal seen
        if name == plan["at"]:
            seen += 1
            if seen == plan["nth"]:
                os.kill(os.getpid(), signal.SIGKILL)

    for part in PARTS:
        real = getattr(switch, part)

        async def wrapped(*given: Any, _real: Any = real, _part: str = part, **named: Any) -> Any:
            found = await _real(*given, **named)
            maybe(_part)
            return found

        setattr(switch, part, wrapped)
    database = await Database.open(plan["connect"], bytes.fromhex(plan["master_key"]), connections=2)
    tenant = await database.tenant(plan["tenant"])
    await roll_in(
        database, tenant, str(plan["version"]), yes=True, threshold=None, memory_mb=100, clock=SystemClock(),
        told=lambda step, _done, _whole: maybe(step),
    )  # fmt: skip
    await database.close()


if __name__ == "__main__":
    asyncio.run(life(json.loads(sys.argv[1])))
