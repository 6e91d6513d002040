"""The state of a subject as bytes: equal states are equal bytes, and what can matter no more takes no room.

Numbers of 64 bits throughout, so that a state is read and written by one call each: these are made for every event.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

from firstring.journey.patterns.runs import NEVER, Ready, Run, State, over

_LAYOUT: Final = 2
_MOMENT_BITS: Final = 48
"""Milliseconds reach to the year 10889."""
_MOMENT: Final = (1 << _MOMENT_BITS) - 1
_BYTES: Final = 8
_KEYED: Final = 0x80
"""In the count of waits, where a key follows."""


def packed(patterns: Mapping[int, Ready], state: State, now_ms: int, *, keep_ms: int) -> bytes:
    """The state as bytes; what is over by now_ms is left out, b"" when nothing of it can matter any more.

    The time of the last event is kept for keep_ms.
    """
    numbers = [_LAYOUT << _MOMENT_BITS | state.last_ms]
    for number, runs in sorted(state.runs.items()):
        pattern = patterns[number]
        earliest_ms = now_ms - pattern.window_ms  # what began before matters no more: equal states are equal bytes
        for key, run in sorted(runs.items()) if len(runs) > 1 else runs.items():
            came = run.places
            if not key and len(came) == 2 and not run.waits and not run.values:  # most are such
                begun_ms = came[1]
                if begun_ms >= earliest_ms:
                    numbers += (number | 1 << 16, begun_ms)
                continue
            if not run.waits and max(came) < earliest_ms and over(pattern, run, now_ms):
                continue
            places = [one if one >= earliest_ms else NEVER for one in came]
            end = len(places)
            while end > 1 and places[end - 1] == NEVER:
                end -= 1
            values = [one for one in run.values if one[1] >= earliest_ms] if run.values else ()
            keyed = pattern.same is not None
            waits = len(run.waits) | _KEYED if keyed else len(run.waits)
            numbers.append(number | (end - 1) << 16 | waits << 24 | len(values) << 32)
            if keyed:
                numbers += (key, run.moved_ms)
            numbers += places[1:end]
            for pair in run.waits:
                numbers += pair
            for pair in values:
                numbers += pair
    if len(numbers) == 1 and state.last_ms < now_ms - keep_ms:
        return b""
    return struct.pack(f"<{len(numbers)}q", *numbers)


def unpacked(patterns: Mapping[int, Ready], content: bytes) -> State:
    """The state out of bytes of `packed`. Of patterns that there are no longer nothing is kept.

    Raises ValueError for bytes of another layout: the log is to be replayed.
    """
    state = State()
    if not content:
        return state
    count, rest = divmod(len(content), _BYTES)
    if rest:
        raise ValueError("a state of another layout")
    numbers = struct.unpack(f"<{count}q", content)
    if numbers[0] >> _MOMENT_BITS != _LAYOUT:
        raise ValueError("a state of another layout")
    state.last_ms = numbers[0] & _MOMENT
    at = 1
    while at < count:
        head = numbers[at]
        if head >> 24 == 0:  # neither key nor waits nor values: most are such
            pattern = patterns.get(head & 0xFFFF)
            end = at + 1 + (head >> 16)
            if pattern is not None:
                came = [NEVER, *numbers[at + 1 : end]]
                if len(came) < pattern.machine.end:
                    came += [NEVER] * (pattern.machine.end - len(came))
                state.runs[head & 0xFFFF] = {0: Run(came, state.last_ms)}
            at = end
            continue
        number, places, waits, values = head & 0xFFFF, head >> 16 & 0xFF, head >> 24 & 0xFF, head >> 32 & 0xFF
        at += 1
        key, moved_ms = 0, state.last_ms
        if waits & _KEYED:
            key, moved_ms = numbers[at], numbers[at + 1]
            at += 2
            waits &= ~_KEYED
        end = at + places
        stop = end + 2 * (waits + values)
        pattern = patterns.get(number)
        if pattern is not None:
            run = Run([NEVER, *numbers[at:end], *(NEVER,) * (pattern.machine.end - 1 - places)], moved_ms)
            if stop > end:
                pairs = tuple(zip(numbers[end:stop:2], numbers[end + 1 : stop : 2], strict=True))
                run.waits, run.values = pairs[:waits], pairs[waits:]
            runs = state.runs.get(number)
            if runs is None:
                state.runs[number] = {key: run}
            else:
                runs[key] = run
        at = stop
    return state
