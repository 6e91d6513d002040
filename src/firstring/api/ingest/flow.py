"""How many events a client and a token may send: a flood from one of them leaves room for the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from firstring import limits
from firstring.api.access import Caller
from firstring.api.ingest.buckets import Buckets, retry_after
from firstring.errors import BadInput
from firstring.observe import Metrics
from firstring.settings import Settings

LOOKUPS_PER_S: Final = 2.0
"""Keys that are not known, from one client; each is looked up in the database."""
CLIENTS: Final = 20_000
"""Clients whose buckets are held."""
BURST_S: Final = 10.0
"""So many seconds' worth may come at once; a whole batch in any case, else none would ever pass."""


class EventFlow:
    """One for each process."""

    def __init__(self, settings: Settings, metrics: Metrics, monotonic_s: Callable[[], float]) -> None:
        self._proxies = frozenset(settings.event_proxies)
        self._metrics = metrics
        self._monotonic_s = monotonic_s
        self._clients = _buckets(settings.events_per_client_s)
        self._keys = _buckets(settings.events_per_key_s)
        self._lookups = Buckets(LOOKUPS_PER_S, BURST_S * LOOKUPS_PER_S, names=CLIENTS)

    def client(self, scope: Any) -> str:
        """The address of the client: the peer, or what a proxy of one's own says of it."""
        peer = str(scope["client"][0]) if scope.get("client") else ""
        if peer in self._proxies:
            said = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
            if said:
                return str(said[-1].decode("latin-1").rpartition(",")[2].strip()[:64])
        return peer

    def events(self, caller: Caller, client: str, count: int) -> None:
        """Raises BadInput events_limited (429) where the caller has sent too many."""
        count = max(1, count)
        if caller.role == "write_key":
            self._take("client", self._clients, f"{caller.token_id} {client}", count)
        self._take("key", self._keys, str(caller.token_id), count)

    def unknown_key(self, client: str) -> None:
        """Raises BadInput events_limited (429) where a client has tried too many keys that are none."""
        self._take("lookups", self._lookups, client, 1)

    def _take(self, by: str, buckets: Buckets, name: str, count: int) -> None:
        wait_s = buckets.take(name, count, self._monotonic_s())
        if wait_s > 0.0:
            self._metrics.events_limited(by)
            raise BadInput(
                "events_limited",
                "More events than may be sent at a time.",
                where={"by": by, "retry_after_s": retry_after(wait_s)},
                hint="Send them again after Retry-After; send batches.",
                http_status=429,
            )


def _buckets(per_s: float) -> Buckets:
    return Buckets(per_s, max(float(limits.EVENTS_PER_BATCH), BURST_S * per_s), names=CLIENTS)
