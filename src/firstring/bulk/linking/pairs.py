"""Candidate pairs in DuckDB: gathered, made distinct, compared and scored in parts, on disk where memory ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import tee
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from firstring.bulk.linking.comparing import PART_PAIRS, compared
from firstring.bulk.linking.plan import Plan, insufficient, key_pairs
from firstring.identity.comparison.columns import Table
from firstring.identity.comparison.spec import Comparison
from firstring.identity.model.model import Model, score
from firstring.identity.model.training import Observed

_KEPT_FROM: Final = -4.6
"""Log-odds (a probability of .01) below which a pair is of no interest by itself: nearly all pairs are."""


class Pairs:
    """The candidate pairs of one table. Rows are int32, left < right; pairs are in order of (left, right)."""

    def __init__(self, folder: Path, *, memory_mb: int, threads: int) -> None:
        import duckdb  # takes a quarter of a second: only who links pays

        config: dict[str, Any] = {
            "memory_limit": f"{memory_mb}MB",
            "temp_directory": str(folder),
            "threads": threads,
            "preserve_insertion_order": False,
        }
        self._connection = duckdb.connect(str(folder / "pairs.duckdb"), config=config)
        self.count = 0

    def close(self) -> None:
        self._connection.close()

    def gather(self, plan: Plan, table: Table, told: Callable[[int, int], None] = lambda _done, _all: None) -> None:
        """Makes the distinct pairs of all keys."""
        run = self._connection.execute
        run("create or replace table met (l integer, r integer, profile boolean, weak boolean)")
        for done, key in enumerate(plan.keys, 1):
            for left, right in key_pairs(key, table):
                part = {"l": left, "r": right, "profile": np.full(len(left), key.key.profile)}
                part["weak"] = insufficient(plan.spec, key.key, table, left, right)
                self._insert("met", part, "select l, r, profile, weak from part")
            told(done, len(plan.keys))
        table.forget_parts()
        run(
            "create or replace table candidate as"
            " select l, r, bool_or(profile) as profile from met group by l, r"
            " having count(*) > 1 or not bool_or(weak) order by l, r"
        )
        run("drop table met")
        self.count = int(self._one("select count(*) from candidate"))

    def compare(
        self, comparisons: Sequence[Comparison], table: Table, told: Callable[[int, int], None] = lambda _done, _all: None
    ) -> None:
        """Gives every pair its pattern."""
        run = self._connection.execute
        run("create or replace table compared (l integer, r integer, profile boolean, pattern bigint)")
        done = 0
        given, taken = tee(self._parts("candidate", "l, r, profile"))
        rows = ((part["l"], part["r"]) for part in given)
        for part, numbers in zip(taken, compared(comparisons, table, rows, self.count), strict=True):
            part["pattern"] = numbers
            self._insert("compared", part, "select l, r, profile, pattern from part")
            done += len(part["l"])
            told(done, self.count)
        run("drop table candidate")

    def observed(self) -> Observed:
        """The distinct patterns, in order."""
        found = self._fetch(
            "select pattern, profile, count(*)::double as pairs from compared group by all order by pattern, profile"
        )
        return Observed(found["pattern"], found["pairs"], found["profile"])

    def score(self, model: Model, records: int) -> None:
        """Gives every pattern its log-odds, and keeps the pairs that may be one person."""
        observed = self.observed()
        scores = score(model, observed.patterns, observed.by_profile, records)
        part = {
            "pattern": observed.patterns,
            "profile": observed.by_profile,
            "log_odds": scores.log_odds,
            "rival": scores.rival.astype(np.int32),
        }
        run = self._connection.execute
        run("create or replace table score (pattern bigint, profile boolean, log_odds double, rival integer)")
        self._insert("score", part, "select pattern, profile, log_odds, rival from part")
        run(
            "create or replace table scored as select l, r, pattern, log_odds, rival"
            " from compared join score using (pattern, profile) where log_odds >= ? order by l, r",
            [_KEPT_FROM],
        )

    def edges(self) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
        """(left, right, log-odds) of the pairs kept."""
        found = self._fetch("select l, r, log_odds from scored order by l, r")
        return found["l"], found["r"], found["log_odds"]

    def within(
        self, group: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64], NDArray[np.int64]]:
        """(left, right, log-odds, pattern) of all compared pairs whose rows are of one group of two rows or more."""
        sizes = np.bincount(group)
        row = np.flatnonzero(sizes[group] > 1).astype(np.int32)
        self._connection.execute("create or replace table member (row_number integer, person integer)")
        self._insert("member", {"row_number": row, "person": group[row]}, "select row_number, person from part")
        found = self._fetch(
            "select l, r, log_odds, pattern from compared join score using (pattern, profile)"
            " join member a on a.row_number = l join member b on b.row_number = r"
            " where a.person = b.person order by l, r"
        )
        return found["l"], found["r"], found["log_odds"], found["pattern"]

    def scored(self, from_log_odds: float) -> Iterator[dict[str, NDArray[Any]]]:
        """The kept pairs in parts: l, r, pattern, log_odds, rival."""
        return self._parts("scored", "l, r, pattern, log_odds, rival", f"and log_odds >= {from_log_odds!r}")

    def _parts(self, name: str, columns: str, where: str = "") -> Iterator[dict[str, NDArray[Any]]]:
        """A table in parts of about PART_PAIRS, by ranges of the left row."""
        bounds = self._fetch(f"select l, count(*) as pairs from {name} group by l order by l")  # noqa: S608
        number = np.cumsum(bounds["pairs"]) // PART_PAIRS
        lefts = bounds["l"]
        for part in np.unique(number).tolist():
            inside = lefts[number == part]
            yield self._fetch(
                f"select {columns} from {name} where l between {inside[0]} and {inside[-1]} {where} order by l, r"  # noqa: S608
            )

    def _fetch(self, query: str) -> dict[str, NDArray[Any]]:
        found = self._connection.execute(query).fetchnumpy()
        return {name: np.ma.getdata(values) for name, values in found.items()}

    def _insert(self, name: str, part: dict[str, NDArray[Any]], select: str) -> None:
        self._connection.register("part", part)
        self._connection.execute(f"insert into {name} {select}")
        self._connection.unregister("part")

    def _one(self, query: str) -> Any:
        row = self._connection.execute(query).fetchone()
        assert row is not None
        return row[0]
