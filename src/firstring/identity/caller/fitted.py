"""What a trained model says of claims and identifiers: weights by level and octave of rarity, looked up value by value."""

from __future__ import annotations

from typing import Final

import numpy as np

from firstring.identity.caller.logs import Logs
from firstring.identity.comparison.levels import outcomes
from firstring.identity.comparison.spec import CLASSES
from firstring.identity.comparison.statistics import BANDS, SEVERAL_NAMES, Statistics, octave
from firstring.identity.model.model import UNRELATED, Model, table_of_shares

_LOGGED: Final = tuple(CLASSES.index(name) for name in Logs._fields)
_SAME, _, _NAMESAKE, _LOCAL = _LOGGED
_RARITY_OF: Final = {
    ("given", "exact"): "given",
    ("family", "exact"): "family",
    ("birth_date", "exact"): "born",
    ("place", "home"): "home",
    ("place", "postcode"): "postcode",
    ("place", "address"): "address",
    ("place", "city"): "city",
}
"""Which column's rarity splits a level."""
_TINY: Final = 1e-300


class Fitted:
    """A model version made ready for one contact at a time. Immutable once made."""

    def __init__(self, model: Model, statistics: Statistics) -> None:
        self.version = model.version
        self.records = model.records
        self._statistics = statistics
        self._logs: dict[tuple[str, str], list[Logs]] = {}
        self._odds: dict[tuple[str, str], list[float]] = {}
        self._alone = {
            name: int(octave(np.array([2], np.int64), known.stated)[0]) for name, known in statistics.columns.items()
        }
        """By column, the octave of a value that one other record shares."""
        pairs = np.log(model.class_pairs(model.records))
        self.someone = float(pairs[_SAME] - pairs[UNRELATED])
        """ln odds that a record taken at random is of one given person rather than of somebody else."""
        self.namesakes = float(pairs[_NAMESAKE] - pairs[UNRELATED])
        """ln odds that two people taken at random are namesakes rather than unrelated."""
        self.locals = float(pairs[_LOCAL] - pairs[UNRELATED])
        """The same of one family name and region."""
        for comparison in model.comparisons():
            ratios = np.log(np.maximum(table_of_shares(model, comparison), _TINY))
            ratios -= ratios[UNRELATED]
            place = 1
            for level in comparison.levels:
                size = BANDS if level.banded else 1
                part = ratios[:, place : place + size]
                place += size
                key = (comparison.name, level.name)
                self._logs[key] = [Logs(*(float(part[one, band]) for one in _LOGGED)) for band in range(size)]
                if level.name.startswith("exact"):
                    self._odds[key] = [self.someone + one.same for one in self._logs[key]]
            assert place == outcomes(comparison).radix

    def logs(self, comparison: str, level: str, value: str = "") -> Logs | None:
        """The weights of an outcome; value: what was agreed on, where its rarity counts. None for what it does not know."""
        by_band = self._logs.get((comparison, level))
        if by_band is None or len(by_band) == 1:
            return None if by_band is None else by_band[0]
        column = _RARITY_OF.get((comparison, level))
        return None if column is None else by_band[self._statistics.band(column, value)]

    def commonness(self, kind: str, value: str) -> float:
        """By how much the odds that two records are of one person fall because an identifier is common, in nats (<= 0).

        0 for one that nobody else has. How high the odds are there, training cannot say: it holds at least a tenth of
        the agreements for chance (training._FLOOR), so that level stays a prior.
        """
        level = "exact"
        if kind == "email" and SEVERAL_NAMES in self._statistics.columns:
            level = "exact_several" if self._statistics.has_several_names(value) else "exact"
        by_band = self._odds.get((kind, level))
        alone = self._alone.get(kind)
        if by_band is None or alone is None:
            return 0.0
        band = self._statistics.band(kind, value)
        return 0.0 if band >= alone else min(0.0, by_band[band] - by_band[alone])
