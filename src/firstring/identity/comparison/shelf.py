"""Records kept in the form in which they are compared, from one small set of records to the next.

Linking online compares a few records again and again with others. A table of each set would encode and derive their values
anew; a shelf does it once for each content, and a table of any of its rows is a selection. The levels that come out are
those of `columns.table_of` over the same records: codes are numbers for texts, and which number makes no difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import getitem
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from firstring.identity.comparison.columns import DERIVED, Codes, Column, Hashes, Table, derived, value_hashes
from firstring.identity.comparison.onecharacter import Sums, character_sums
from firstring.identity.comparison.rows import NAMED, NAMED_AT, SLOTS_OF, WIDTH, Row, row_of
from firstring.identity.comparison.statistics import Statistics

_NAMES: Final = NAMED
"""Columns compared by their hashes, and looked for in e-mail addresses."""
_NO_BAND: Final = 255
_FOUND: Final = {"": 1}
"""The code of a flag."""
_ROWS_FIRST: Final = 1_024
_KEPT_PAIRS: Final = 1_000_000
"""Of which patterns and log-odds are kept: 24 MB."""
_NO_COUNTS: Final = np.zeros(0, np.int64)


class _Codes(dict[str, int]):
    """The code of each text; asked for another one, it gets the next code."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __missing__(self, text: str) -> int:
        found = self[text] = len(self.texts)
        self.texts.append(text)
        return found


class _Texts:
    """The values of one column, by code, and what is known of each; made when first asked for, for new ones only."""

    def __init__(self) -> None:
        self.codes = _Codes()
        self.values = self.codes.texts
        self._made: dict[str, tuple[int, NDArray[Any]]] = {}
        self._bands = np.zeros(0, np.uint8)

    def made(self, name: str, make: Callable[[Sequence[str]], NDArray[Any]]) -> NDArray[Any]:
        """What `make` makes of all values, and then some room."""
        done, found = self._made.get(name, (0, None))
        size = len(self.values)
        if found is None or done < size:
            new = make(self.values[done:])
            if found is None or size >= len(found):
                room = np.zeros(2 * size, new.dtype)
                if found is not None:
                    room[:done] = found[:done]
                found = room
            found[done:size] = new
            self._made[name] = size, found
        return found

    def bands_at(self, codes: NDArray[np.int32], statistics: Statistics, name: str) -> NDArray[np.uint8]:
        """Each is looked up once."""
        if len(self._bands) < len(self.values):
            more = np.full(2 * len(self.values) - len(self._bands), _NO_BAND, np.uint8)
            self._bands = np.concatenate((self._bands, more))
        found = self._bands[codes]
        unknown = np.unique(codes[found == _NO_BAND])
        if len(unknown):
            self._bands[unknown] = statistics.bands(name, [self.values[code] for code in unknown.tolist()])
            found = self._bands[codes]
        return found


class Shelf:
    """Rows by what they hold (`content`, of any kind that tells contents apart), under one version's statistics."""

    def __init__(self, statistics: Statistics, attributes: Sequence[str] = ()) -> None:
        """attributes: columns of free attributes that records may have."""
        self.statistics = statistics
        self._attributes = {name: WIDTH + place for place, name in enumerate(attributes)}
        self._at = {**SLOTS_OF, **{name: slice(at, at + 1) for name, at in self._attributes.items()}}
        self._width = WIDTH + len(self._attributes)
        self.clear()

    def clear(self) -> None:
        """Takes everything down."""
        self._texts = {name: _Texts() for name in self._at}
        self._codes_at: list[dict[str, int]] = [_FOUND] * self._width
        for name, slots in self._at.items():
            self._codes_at[slots] = [self._texts[name].codes] * (slots.stop - slots.start)
        self._of_slots: dict[bytes, list[dict[str, int]]] = {}
        self._place_of: dict[bytes, int] = {}
        self._codes = np.empty((_ROWS_FIRST, self._width), np.int32)
        self._pairs = self._asked = np.zeros(0, np.int64)
        self._patterns, self._log_odds = self._answered = np.zeros(0, np.int64), np.zeros(0)

    def __len__(self) -> int:
        return len(self._place_of)

    def __contains__(self, content: bytes) -> bool:
        return content in self._place_of

    def put(self, content: bytes, values: Mapping[str, Sequence[str]]) -> None:
        """Puts up what a record holds, as `columns.compared` gives it."""
        if content not in self._place_of:
            row = row_of(values, self._attributes, self.statistics)
            assert row is not None, "a column that the version does not know"
            self.put_rows([(content, row)])

    def put_rows(self, rows: Iterable[tuple[bytes, Row]]) -> None:
        """Puts up rows by their contents."""
        place_of, of_slots = self._place_of, self._of_slots
        first = len(place_of)
        slots, lengths = [], []
        codes: list[int] = []
        for content, (where, texts) in rows:
            if content in place_of:
                continue
            place_of[content] = len(place_of)
            of = of_slots.get(where)
            if of is None:
                of = of_slots[where] = [self._codes_at[slot] for slot in where]
            codes += map(getitem, of, texts)
            slots.append(where)
            lengths.append(len(where))
        end = len(place_of)
        while end > len(self._codes):
            self._codes = np.concatenate((self._codes, np.empty_like(self._codes)))
        self._codes[first:end] = -1
        at = np.repeat(np.arange(first, end), lengths)
        self._codes[at, np.frombuffer(b"".join(slots), np.uint8)] = codes

    def places(self, contents: Sequence[bytes]) -> NDArray[np.int64]:
        """Where they stand; the same until `clear`."""
        place_of = self._place_of
        return np.array([place_of[content] for content in contents], np.int64)

    def kept_pairs(
        self, left: NDArray[np.int64], right: NDArray[np.int64], by_profile: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
        """Patterns and log-odds of pairs of places as they were kept, and the numbers of the pairs that were not."""
        pairs = _pairs(left, right, by_profile)
        if np.array_equal(pairs, self._asked):  # of the same person as the last time
            return self._answered[0].copy(), self._answered[1].copy(), _NO_COUNTS
        if not len(self._pairs):
            return np.zeros(len(left), np.int64), np.zeros(len(left)), np.arange(len(left))
        at = np.minimum(np.searchsorted(self._pairs, pairs), len(self._pairs) - 1)
        return self._patterns[at], self._log_odds[at], np.flatnonzero(self._pairs[at] != pairs)

    def keep_pairs(
        self,
        left: NDArray[np.int64],
        right: NDArray[np.int64],
        by_profile: NDArray[np.bool_],
        patterns: NDArray[np.int64],
        log_odds: NDArray[np.float64],
    ) -> None:
        """Keeps what is known of pairs of places, with those that were kept before as long as they are not many."""
        pairs = _pairs(left, right, by_profile)
        self._asked, self._answered = pairs, (patterns.copy(), log_odds.copy())
        if len(pairs) + len(self._pairs) <= _KEPT_PAIRS:
            pairs = np.concatenate((pairs, self._pairs))
            patterns = np.concatenate((patterns, self._patterns))
            log_odds = np.concatenate((log_odds, self._log_odds))
        self._pairs, at = np.unique(pairs, return_index=True)
        self._patterns, self._log_odds = patterns[at], log_odds[at]

    def states(self, contents: Sequence[bytes], column: str) -> NDArray[np.bool_]:
        """Which of what is up there states a column."""
        at = self._at.get(column)
        if at is None:
            return np.zeros(len(contents), np.bool_)
        place_of = self._place_of
        return self._codes[[place_of[content] for content in contents], at.start] >= 0

    def table(self, contents: Sequence[bytes]) -> Table:
        """The table of what is up there, in that order. Raises KeyError for what is not."""
        place_of = self._place_of
        codes = self._codes[[place_of[content] for content in contents]]
        return _Selected(codes, self._at, self._texts, self.statistics)


def _pairs(left: NDArray[np.int64], right: NDArray[np.int64], by_profile: NDArray[np.bool_]) -> NDArray[np.int64]:
    """One number for each pair of places, in whichever order, and whether it meets by a profile key."""
    return np.minimum(left, right) << 32 | np.maximum(left, right) << 1 | by_profile


class _Selected(Table):
    """Rows of a shelf. What is known of values is kept with the shelf."""

    def __init__(
        self,
        codes: Codes,
        at: Mapping[str, slice],
        texts: Mapping[str, _Texts],
        statistics: Statistics,
    ) -> None:
        used: list[bool] = np.asarray((codes >= 0).any(axis=0)).tolist()  # slots are filled from the first on
        columns = {}
        for name, slots in at.items():
            if used[slots.start]:
                width = slots.start + sum(used[slots])
                columns[name] = Column(codes[:, slots.start : width], texts[name].values, _NO_COUNTS)
        super().__init__(len(codes), columns, statistics)
        self._texts = texts
        self._of_email = {name: codes[:, place] > 0 for name, place in NAMED_AT.items()}
        self._frozen = statistics

    def bands_at(self, name: str, codes: NDArray[np.int32]) -> NDArray[np.uint8]:
        if name not in self.columns:
            return super().bands_at(name, codes)
        return self._texts[name].bands_at(codes, self._frozen, name)

    def column(self, name: str) -> Column:
        if name not in self.columns and name not in self._derived and name in DERIVED:
            # Of a shelf's many values those of these rows.
            whole = self.columns[DERIVED[name][0]]
            distinct, places = np.unique(whole.codes, return_inverse=True)
            none = int(len(distinct) > 0 and distinct[0] < 0)
            values = [whole.values[code] for code in distinct[none:].tolist()]
            few = Column((places - none).astype(np.int32).reshape(whole.codes.shape), values, _NO_COUNTS)
            self._derived[name] = derived(few, DERIVED[name][1])
        return super().column(name)

    def sums(self, name: str) -> Sums:
        return self._texts[name].made("sums", character_sums)

    def several_names(self) -> NDArray[np.bool_]:
        found = self._texts["email"].made("several", self._frozen.several_names)
        found[-1] = False  # what code -1 picks; there is room for as many again
        return found

    def part(self, name: str) -> Hashes:
        if name not in _NAMES:
            return super().part(name)
        hashes = self._texts[name].made("hashes", value_hashes)
        hashes[-1] = 0
        return hashes[self.columns[name].codes]

    def named_in_email(self, name: str) -> NDArray[np.bool_]:
        return self._of_email[name]
