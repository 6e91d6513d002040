"""What a person has agreed to, as actions ask it: by purpose and route."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from firstring.contact import RecordRead
from firstring.identity.golden.survivorship import ATTRIBUTES
from firstring.journey.consents import Consents, Stated, is_stated

PURPOSES: Final = frozenset(("marketing", "service"))
"""That actions ask for where they name none."""
CHANNELS: Final[Mapping[str, str]] = {
    "email": "email", "sms": "messaging", "push": "mobile", "callback": "voice", "web": "web", "webhook": "*", "desk": "*",
}  # fmt: skip
"""Route -> the channel of which consent is spoken; a desk's is that of its contact."""
_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)


def stated_in(records: Iterable[RecordRead]) -> list[Stated]:
    """What records of imports state of consent, by attributes, as of when their source last saw them; with no such time as
    of long ago, so that every event comes after it."""
    return [
        Stated(name, value, record.last_seen or _LONG_AGO, record.source)
        for record in records
        for name, value in (record.fields.get(ATTRIBUTES) or {}).items()
        if is_stated(name)
    ]


def by_route(said: Consents, purposes: Iterable[str], desk: str = "*") -> dict[str, bool]:
    """purpose/route -> given or withdrawn; what is not in it is not known. desk: the channel of a contact."""
    found = {
        f"{purpose}/{route}": said.given(purpose, desk if route == "desk" else channel)
        for purpose in purposes
        for route, channel in CHANNELS.items()
    }
    return {place: given for place, given in sorted(found.items()) if given is not None}
