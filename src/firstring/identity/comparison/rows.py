"""What is compared of a record as a row: the texts by the slots in which they stand, derived ones among them.

A function of the values alone, so that it can be made once, when a record comes, and kept with it: of a record that is met
again nothing is brought to its form anew. `pack` and `unpack` are how it is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from firstring.identity.comparison.columns import DERIVED, NAMED_LETTERS, SEVERAL, SINGLE, SLOTS, rarest
from firstring.identity.comparison.statistics import Statistics

FORM: Final = 1
"""To be raised with every change of what `columns.compared`, `linking.content_of` or `row_of` make of the same record: what
was kept under another number is not read."""

NAMED: Final = ("given", "family")
"""Columns looked for in e-mail addresses; the slot of such a flag is there where the name was found, and has no text."""
_SIZES: Final = {
    **dict.fromkeys((*SINGLE, "home", "outward"), 1),
    **dict.fromkeys((*SEVERAL, "email_local"), SLOTS),
}


def _slots() -> Iterator[tuple[str, slice]]:
    start = 0
    for name, size in _SIZES.items():
        yield name, slice(start, start := start + size)


SLOTS_OF: Final[Mapping[str, slice]] = dict(_slots())
"""Where the values of a column stand."""
NAMED_AT: Final = {name: sum(_SIZES.values()) + place for place, name in enumerate(NAMED)}
WIDTH: Final = sum(_SIZES.values()) + len(NAMED)
"""Slots in all; free attributes follow."""

_outward: Final = DERIVED["outward"][1]
_email_local: Final = DERIVED["email_local"][1]
_AT: Final = {name: slots.start for name, slots in SLOTS_OF.items()}
_OUTWARD, _HOME, _LOCAL = (_AT[name] for name in ("outward", "home", "email_local"))


class Row(NamedTuple):
    """slots and texts belong together, place by place."""

    slots: bytes
    texts: list[str]


def row_of(
    values: Mapping[str, Sequence[str]], attributes: Mapping[str, int] | None = None, statistics: Statistics | None = None
) -> Row | None:
    """The row of what is compared, as `columns.compared` gives it. attributes: the slots of those that there may be.

    None without statistics where they decide: which of more values than there are slots take part.
    """
    slots, texts = bytearray(), []
    for name, stated in values.items():
        at = _AT.get(name, -1)
        if at < 0:
            at = (attributes or {}).get(name, -1)
            if at < 0:
                return None
        if len(stated) == 1 or name not in SEVERAL:
            slots.append(at)
            texts.append(stated[0])
            continue
        if len(stated) > SLOTS:
            if statistics is None:
                return None
            stated = rarest(name, stated, statistics)
        slots += bytes(range(at, at + len(stated)))
        texts += stated
    if "postcode" in values:
        (postcode, *_) = values["postcode"]
        if outward := _outward(postcode):
            slots.append(_OUTWARD)
            texts.append(outward)
        if "address" in values:
            slots.append(_HOME)
            texts.append(f"{postcode} {values['address'][0]}")
    if "email" in values:
        emails = values["email"]
        if len(emails) > SLOTS:
            assert statistics is not None, "refused above"
            emails = rarest("email", emails, statistics)
        local = list(dict.fromkeys([_email_local(email) for email in emails]))
        slots += bytes(range(_LOCAL, _LOCAL + len(local)))
        texts += local
        for name, at in NAMED_AT.items():
            if name in values:
                letters = values[name][0][:NAMED_LETTERS]
                if any(letters in text for text in local):
                    slots.append(at)
                    texts.append("")
    return Row(bytes(slots), texts)


_STATED_AT: Final = {at: name for name in (*SINGLE, *SEVERAL) for at in range(SLOTS_OF[name].start, SLOTS_OF[name].stop)}


def values_of(row: Row) -> dict[str, tuple[str, ...]]:
    """What is compared, as `columns.compared` gives it, out of a row that was made without statistics."""
    found: dict[str, tuple[str, ...]] = {}
    for at, text in zip(*row, strict=True):
        name = _STATED_AT.get(at)
        if name is not None:
            found[name] = (*found[name], text) if name in found else (text,)
    return found


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(tuple[int, bytes, bytes, list[str]]).decode


def pack(content: bytes, row: Row) -> bytes:
    """A row as it is kept, with the digest of what the record holds (`linking.content_of`)."""
    return _encode((FORM, content, row.slots, row.texts))


def unpack(packed: bytes) -> tuple[bytes, Row] | None:
    """What `pack` was given; None where that was in another form."""
    form, content, slots, texts = _decode(packed)
    return (content, Row(slots, texts)) if form == FORM else None
