"""Pairs compared by several processes, which share the table as it is in memory when they start."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from firstring.identity.comparison.columns import Table
from firstring.identity.comparison.levels import Patterns, patterns
from firstring.identity.comparison.spec import Comparison

PART_PAIRS: Final = 1 << 18
_PROCESSES_FROM_PAIRS: Final = 300_000
"""Fewer pairs are compared in this process: others would take longer to start than to work."""

Part: TypeAlias = tuple[NDArray[np.int32], NDArray[np.int32]]
"""Rows of the left and of the right records of pairs."""


def compared(comparisons: Sequence[Comparison], table: Table, parts: Iterable[Part], pairs: int) -> Iterator[Patterns]:
    """The patterns of parts, in their order. pairs: how many there are in all."""
    processes = min(os.cpu_count() or 1, 8)
    if pairs < _PROCESSES_FROM_PAIRS or processes < 2:
        for left, right in parts:
            yield _patterns(comparisons, table, left, right)
        return
    none = np.zeros(0, np.int32)
    _patterns(comparisons, table, none, none)  # what a table derives when first asked is derived once, before it is shared
    workers = [_Worker(comparisons, table) for _ in range(processes)]
    try:
        busy: deque[_Worker] = deque()
        for part in parts:
            if len(busy) == len(workers):
                yield busy[0].take()
                busy.rotate(-1)
                busy[-1].give(part)
            else:
                busy.append(workers[len(busy)])
                busy[-1].give(part)
        while busy:
            yield busy.popleft().take()
    finally:
        for worker in workers:
            worker.end()


def _patterns(
    comparisons: Sequence[Comparison], table: Table, left: NDArray[np.int32], right: NDArray[np.int32]
) -> Patterns:
    return patterns(comparisons, table, left.astype(np.int64), right.astype(np.int64))


class _Worker:
    """One process, with at most one part at a time, so that neither side ever waits for the other to read."""

    def __init__(self, comparisons: Sequence[Comparison], table: Table) -> None:
        context = multiprocessing.get_context("fork")
        self._here, there = context.Pipe()
        with warnings.catch_warnings():
            # Python 3.12 warns of forking beside threads, whose locks the child would find held: it takes none of them.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._process = context.Process(target=_serve, args=(there, self._here, comparisons, table), daemon=True)
            self._process.start()
        there.close()

    def give(self, part: Part) -> None:
        self._here.send(part)

    def take(self) -> Patterns:
        found: Patterns = self._here.recv()
        return found

    def end(self) -> None:
        self._here.close()
        self._process.terminate()
        self._process.join()


def _serve(here: Connection, theirs: Connection, comparisons: Sequence[Comparison], table: Table) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started it ends it
    theirs.close()
    gc.disable()
    try:
        while True:
            left, right = here.recv()
            here.send(_patterns(comparisons, table, left, right))
    except (EOFError, BrokenPipeError):
        return
