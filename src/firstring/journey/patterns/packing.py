"""The state of a subject as bytes: equal states are equal bytes, and what can matter no more takes no room."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

from firstring.journey.patterns.runs import HASH_BYTES, NEVER, Ready, Run, State, over

_LAYOUT: Final = 1
_HEAD_BYTES: Final = 7
_RUN: Final = struct.Struct("<HBBB")
"""Number of the pattern, places, waits, values; _KEYED in the waits where a key follows."""
_KEYED: Final = 0x80
_WIDTH: Final = HASH_BYTES
"""Bytes of a moment too: 48 bits of milliseconds reach to the year 10889."""


def packed(patterns: Mapping[int, Ready], state: State, now_ms: int, *, keep_ms: int) -> bytes:
    """The state as bytes; what is over by now_ms is left out, b"" when nothing of it can matter any more.

    The time of the last event is kept for keep_ms.
    """
    parts: list[bytes] = []
    for number, runs in sorted(state.runs.items()):
        pattern = patterns[number]
        for key, run in sorted(runs.items()):
            if over(pattern, run, now_ms):
                continue
            earliest_ms = now_ms - pattern.window_ms  # what began before matters no more: equal states are equal bytes
            places = [one if one >= earliest_ms else NEVER for one in run.places[1:]]
            values = [one for one in run.values if one[1] >= earliest_ms]
            while places and places[-1] == NEVER:
                places.pop()
            keyed = pattern.same is not None
            numbers = [key, run.moved_ms, *places] if keyed else list(places)
            for pair in (*run.waits, *values):
                numbers += pair
            parts.append(_RUN.pack(number, len(places), len(run.waits) | _KEYED * keyed, len(values)))
            parts += [one.to_bytes(_WIDTH, "little") for one in numbers]
    if not parts and state.last_ms < now_ms - keep_ms:
        return b""
    return b"".join((bytes((_LAYOUT,)), state.last_ms.to_bytes(_WIDTH, "little"), *parts))


def unpacked(patterns: Mapping[int, Ready], content: bytes) -> State:
    """The state out of bytes of `packed`. Of patterns that there are no longer nothing is kept.

    Raises ValueError for bytes of another layout: the log is to be replayed.
    """
    state = State()
    if not content:
        return state
    if content[0] != _LAYOUT:
        raise ValueError("a state of another layout")
    state.last_ms = int.from_bytes(content[1:_HEAD_BYTES], "little")
    at, end = _HEAD_BYTES, len(content)
    while at < end:
        number, places, waits, values = _RUN.unpack_from(content, at)
        at += _RUN.size
        keyed, waits = waits & _KEYED, waits & ~_KEYED
        stop = at + _WIDTH * (places + 2 * (waits + values) + (2 if keyed else 0))
        pattern = patterns.get(number)
        if pattern is not None:
            numbers = [int.from_bytes(content[one : one + _WIDTH], "little") for one in range(at, stop, _WIDTH)]
            key, moved_ms = (numbers.pop(0), numbers.pop(0)) if keyed else (0, state.last_ms)
            run = Run([NEVER, *numbers[:places], *[NEVER] * (pattern.machine.end - 1 - places)])
            pairs = list(zip(numbers[places::2], numbers[places + 1 :: 2], strict=True))
            run.waits, run.values, run.moved_ms = pairs[:waits], pairs[waits:], moved_ms
            state.runs.setdefault(number, {})[key] = run
        at = stop
    return state
