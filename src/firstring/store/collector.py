"""Python's cycle collector stands still while much is made that lives on for a moment.

It looks through what was made lately whenever that is many objects: while two thousand records are compared, again and
again through objects that are all alive, which took a third of the processor time. They make no cycles, and what is made
beside them waits until the end.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


class _Paused:
    """How many work at the moment; the collector is the process's, so there is one of these."""

    depth = 0
    was_on = False


@contextmanager
def paused() -> Iterator[None]:
    """No collection until the last of those who are inside leaves."""
    if not _Paused.depth:
        _Paused.was_on = gc.isenabled()
        gc.disable()
    _Paused.depth += 1
    try:
        yield
    finally:
        _Paused.depth -= 1
        if not _Paused.depth and _Paused.was_on:
            gc.enable()
