"""The model of pairs: how often two records of each class agree at each level, and how many pairs of each class there are.

A Fellegi-Sunter mixture with nine classes (Fellegi and Sunter 1969; latent classes as Winkler 1988): given its class, the
comparisons of a pair are independent, up to a correction by cell: for pairs that meet by who they are and where they
live, the mix of classes follows the coarse agreement of name, birth date and place together, as the data show it.

The file is JSON, holds shares by level and octave of rarity and no value of any record, and is named after its content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from firstring.errors import BadInput
from firstring.identity.comparison.levels import Patterns, outcomes, unpacked
from firstring.identity.comparison.spec import CLASSES, Comparison, Spec

Floats: TypeAlias = NDArray[np.float64]

FORMAT: Final = 2
SAME: Final = 0
UNRELATED: Final = len(CLASSES) - 1
RATES: Final = {CLASSES.index(name): f"{name}_rate" for name in ("namesake", "local", "neighbour", "compatriot")}
"""Classes of people by chance, whose pairs are a share of all pairs, by number; the fields of the model that hold them."""
_COARSE: Final = ("missing", "exact", "near", "different")
_LINE_CHARS: Final = 120
_TINY: Final = 1e-300


class Model(msgspec.Struct, frozen=True):
    """What training found.

    pairs_per_record: expected pairs of the classes same, household, junior and twin for each record of a data set;
    namesake_rate, local_rate, neighbour_rate, compatriot_rate: share of all pairs that are of that class. shares:
    comparison -> outcome -> share among the pairs of each class (in the order of CLASSES) that state the fields. cells:
    coarse agreement -> ln of the correction of each class. calibration: (log-odds, what they are corrected to), rising
    in both, learned from labels (`labels`); where there are labels, the shares of the class same are corrected too and
    need not add up to 1.
    """

    spec: Spec
    records: int
    pairs_per_record: dict[str, float]
    namesake_rate: float
    shares: dict[str, dict[str, list[float]]]
    cells: dict[str, list[float]] = {}
    local_rate: float = 0.0
    neighbour_rate: float = 0.0
    compatriot_rate: float = 0.0
    calibration: tuple[tuple[float, float], ...] = ()
    format: int = FORMAT
    version: str = ""

    def __hash__(self) -> int:
        return hash(self.version)

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "version", self._named())

    def _named(self) -> str:
        content = {name: getattr(self, name) for name in self.__struct_fields__ if name != "version"}
        return "model-" + hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()[:12]

    def comparisons(self) -> tuple[Comparison, ...]:
        """The comparisons that the model knows, in the order of its spec."""
        return tuple(one for one in self.spec.comparisons if one.name in self.shares)

    def class_pairs(self, records: int) -> Floats:
        """Expected pairs of each class in a data set of so many records."""
        total = records * (records - 1) / 2
        found = np.array([self.pairs_per_record.get(name, 0.0) * records for name in CLASSES], np.float64)
        for number, field in RATES.items():
            found[number] = getattr(self, field) * total
        found[UNRELATED] = total - found.sum()
        return np.asarray(np.maximum(found, 1e-9))


class Scores(msgspec.Struct, frozen=True):
    """Of patterns: log_odds (nats) of same against all others; joint: (classes, patterns), ln of expected pairs."""

    log_odds: Floats
    joint: Floats

    @property
    def probability(self) -> Floats:
        return 1.0 / (1.0 + np.exp(-np.clip(self.log_odds, -700, 700)))

    @property
    def rival(self) -> NDArray[np.int64]:
        """The likeliest class other than same."""
        return np.asarray(np.argmax(self.joint[1:], axis=0) + 1)


def outcome_names(comparison: Comparison) -> list[str]:
    """The names of a comparison's outcomes: its levels, banded ones with their octave of rarity."""
    return [level.name if band is None else f"{level.name} 2^-{band}" for level, band in outcomes(comparison).of]


def table_of_shares(model: Model, comparison: Comparison) -> Floats:
    """(classes, outcomes with missing first) of a comparison. Missing is no evidence: 1 for every class."""
    shares = model.shares[comparison.name]
    rows = [[1.0] * len(CLASSES), *(shares[name] for name in outcome_names(comparison))]
    return np.array(rows).T


def cell_names(comparisons: Sequence[Comparison], rows: NDArray[np.uint8]) -> tuple[list[str], NDArray[np.int64]]:
    """The cells of patterns: coarse agreement of the profile comparisons together. (names, cell of each pattern)."""
    numbers = np.zeros(rows.shape[1], np.int64)
    profile = [place for place, one in enumerate(comparisons) if one.profile]
    for place in profile:
        numbers = numbers * len(_COARSE) + coarse(comparisons[place])[rows[place]]
    distinct, cell = np.unique(numbers, return_inverse=True)
    names = []
    for number in distinct.tolist():
        parts: list[str] = []
        for place in reversed(profile):
            number, digit = divmod(number, len(_COARSE))
            parts.append(f"{comparisons[place].name} {_COARSE[digit]}")
        names.append(", ".join(reversed(parts)))
    return names, cell


@lru_cache(maxsize=256)
def coarse(comparison: Comparison) -> NDArray[np.int64]:
    """For each outcome, missing first, the number of its coarse group."""
    return np.array([0, *(_COARSE.index(level.coarse) for level, _ in outcomes(comparison).of)], np.int64)


@lru_cache(maxsize=8)
def _logs_of_shares(model: Model) -> tuple[Floats, ...]:
    """For each comparison ln of its table of shares: many a score is of a few patterns."""
    return tuple(np.log(np.maximum(table_of_shares(model, one), _TINY)) for one in model.comparisons())


def score(model: Model, patterns: Patterns, by_profile: NDArray[np.bool_], records: int) -> Scores:
    """Scores patterns of a data set of `records`; by_profile: whether the pairs meet under a profile key."""
    comparisons = model.comparisons()
    rows = unpacked(comparisons, patterns)
    joint = np.repeat(np.log(model.class_pairs(records))[:, None], len(patterns), axis=1)
    for place, logs in enumerate(_logs_of_shares(model)):
        joint += logs[:, rows[place]]
    if model.cells:
        names, cell = cell_names(comparisons, rows)
        none = [0.0] * len(CLASSES)
        corrections = np.array([model.cells.get(name, none) for name in names]).T
        joint += np.where(by_profile, corrections[:, cell], 0.0)
    others = np.logaddexp.reduce(joint[1:], axis=0)
    return Scores(calibrated(model.calibration, joint[SAME] - others), joint)


def calibrated(knots: Sequence[tuple[float, float]], log_odds: Floats) -> Floats:
    """Log-odds through a map given by its knots: straight between them, shifted as at the end beyond; () is no map."""
    if not knots:
        return log_odds
    stated, corrected = np.array(knots, np.float64).T
    beyond = log_odds - np.clip(log_odds, stated[0], stated[-1])
    return np.asarray(np.interp(log_odds, stated, corrected) + beyond)


def weights(model: Model, patterns: Patterns, rival: NDArray[np.int64]) -> dict[str, Floats]:
    """For each comparison the weight (nats) of each pattern for same against the pattern's rival class."""
    comparisons = model.comparisons()
    rows = unpacked(comparisons, patterns)
    found: dict[str, Floats] = {}
    for place, comparison in enumerate(comparisons):
        logs = np.log(np.maximum(table_of_shares(model, comparison), _TINY))
        found[comparison.name] = logs[SAME, rows[place]] - logs[rival, rows[place]]
    return found


def as_json(model: Model) -> bytes:
    """The model as readable JSON, one outcome a line; the same model gives the same bytes."""
    return _lines(msgspec.json.decode(msgspec.json.encode(model))).encode() + b"\n"


def _lines(value: Any, indent: int = 0) -> str:
    plain = msgspec.json.encode(value).decode()
    nested = isinstance(value, dict | list) and any(isinstance(one, dict | list) for one in _items(value))
    if not nested and (not isinstance(value, dict) or len(plain) < _LINE_CHARS):
        return plain
    pad = " " * (indent + 1)
    if isinstance(value, dict):
        body = ",\n".join(f"{pad}{msgspec.json.encode(k).decode()}: {_lines(v, indent + 1)}" for k, v in value.items())
        return "{\n" + body + "\n" + " " * indent + "}"
    return "[\n" + ",\n".join(pad + _lines(one, indent + 1) for one in value) + "\n" + " " * indent + "]"


def _items(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value


def from_json(content: bytes) -> Model:
    """Reads a model. Raises BadInput model_malformed or model_changed (the content is not what its version names)."""
    try:
        named = msgspec.json.decode(content, type=dict[str, Any]).get("version")
        model = msgspec.json.decode(content, type=Model)
        for comparison in model.comparisons():
            shares = table_of_shares(model, comparison)
            if shares.shape[0] != len(CLASSES) or not (np.isfinite(shares).all() and (shares >= 0).all()):
                raise ValueError(comparison.name)
        if any(later <= earlier for side in zip(*model.calibration, strict=True) for earlier, later in pairwise(side)):
            raise ValueError("calibration")
    except (msgspec.DecodeError, msgspec.ValidationError, KeyError, ValueError) as error:
        raise BadInput("model_malformed", f"The model cannot be read: {error}.", hint="Train it again.") from error
    if model.format != FORMAT:
        raise BadInput("model_malformed", f"The model has the format {model.format}, not {FORMAT}.", hint="Train it again.")
    if named != model.version:
        raise BadInput(
            "model_changed",
            f"The model says {named}, its content is {model.version}.",
            hint=f"If it was edited on purpose, write {model.version} as its version.",
        )
    return model
