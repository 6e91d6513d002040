"""Splink's model JSON (versions 3 to 5) as a model of ours: what maps keeps its weights exactly, what does not is listed.

A Splink model has two classes and conditions in SQL. A level maps where its condition is an equality, a similarity or a
number of edits of one column, a difference of dates, or one of the e-mail and postcode conditions that Splink's templates
write; it becomes a level of a comparison of kind text with the same m and u. The other classes have u too, so the model
tells two from unrelated alone: it knows no households. Values are compared in our canonical form, not in Splink's.

Term frequency: m / u of a level with the flag becomes m / u_b for each octave b of rarity, u_b = u * (f_b / u)^w, f_b the
middle of the octave (and at least the minimum that the model states), w the model's weight: within half a bit of Splink's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from firstring.errors import BadInput
from firstring.identity.comparison.columns import COLUMNS
from firstring.identity.comparison.spec import ATTRIBUTE, CLASSES, PERSON, BlockingKey, Comparison, Level, Spec
from firstring.identity.comparison.specfile import spec_of, toml_of
from firstring.identity.comparison.statistics import BANDS
from firstring.identity.model.model import Model

COLUMN_OF_FIELD: Final = {
    "given_name": "given", "family_name": "family", "middle_name": "middle", "birth_date": "born", "house_number": "address",
    "street": "address", **{name: name for name in COLUMNS},
}  # fmt: skip
"""The compared column of a field of the vocabulary."""
_SECONDS_PER_DAY: Final = 86_400.0
_SIDE: Final = r'"?(?P<{0}>\w+?)_{1}"?'
_ONE: Final = _SIDE.format("a", "l")
_OTHER: Final = _SIDE.format("b", "r")
_NUMBER: Final = r"(?P<n>\d+(?:\.\d+)?)"
_EQUAL = re.compile(rf"{_ONE} = {_OTHER}")
_MEASURED = re.compile(rf"(?P<f>\w+)\({_ONE}, {_OTHER}\) (?P<op>>=|<=) {_NUMBER}")
_EXTRACT: Final = r"NULLIF\(regexp_extract\({0}, '(?P<{1}>[^']+)', 0\), ''\)"
_PART_EQUAL = re.compile(_EXTRACT.format(_ONE, "p") + " = " + _EXTRACT.format(_OTHER, "q"))
_PART_MEASURED = re.compile(
    r"(?P<f>\w+)\(" + _EXTRACT.format(_ONE, "p") + ", " + _EXTRACT.format(_OTHER, "q") + rf"\) (?P<op>>=|<=) {_NUMBER}"
)
_DATES = re.compile(
    rf"(?i:ABS\(EPOCH)\(try_strptime\({_ONE}, '[^']+'\)\) - "
    rf"(?i:EPOCH)\(try_strptime\({_OTHER}, '[^']+'\)\)\) <= {_NUMBER}"
)
_MEASURES: Final = {
    "jaro_winkler_similarity": "jaro_winkler", "jaro_winkler": "jaro_winkler", "jaro_similarity": "jaro", "jaro": "jaro",
    "levenshtein": "levenshtein", "damerau_levenshtein": "damerau",
}  # fmt: skip
_PARTS: Final = {
    ("email", "^[^@]+"): "email_local",
    ("postcode", "^[A-Za-z]{1,2}[0-9][A-Za-z0-9]? [0-9]"): "postcode_sector",
    ("postcode", "^[A-Za-z]{1,2}[0-9][A-Za-z0-9]?"): "postcode_district",
    ("postcode", "^[A-Za-z]{1,2}"): "postcode_area",
}
_BLOCK = re.compile(r'\(?l\.?"?(?P<a>\w+)"? = r\.?"?(?P<b>\w+)"?\)?')


class Told(NamedTuple):
    """What became of one level or rule. state: mapped, approximated or left out; reason: why not exactly."""

    comparison: str
    level: str
    state: str
    reason: str = ""


class Imported(NamedTuple):
    """model, and what became of every comparison, level and blocking rule of the file."""

    model: Model
    told: tuple[Told, ...]


class _Refused(Exception):
    """Why a level or a comparison does not map."""


def imported(content: bytes, records: int, column_of: Callable[[str], str | None]) -> Imported:
    """The model in a Splink JSON.

    records: how many records the model was trained on; its prior holds for so many and is carried to other sizes.
    column_of: our column for a column of Splink's, or None, which makes it a free attribute. Raises BadInput
    splink_malformed, and splink_empty where no comparison maps.
    """
    raw = _read(content)
    prior = raw.get("probability_two_random_records_match")
    if not isinstance(prior, float | int) or not 0.0 < prior < 1.0:
        raise _malformed("it states no probability_two_random_records_match between 0 and 1")
    told: list[Told] = []
    comparisons: list[Comparison] = []
    shares: dict[str, dict[str, list[float]]] = {}
    for number, one in enumerate(raw.get("comparisons", [])):
        name = _named(str(one.get("output_column_name", f"comparison_{number + 1}")), shares)
        try:
            comparison, own, levels = _comparison(name, one, column_of)
        except _Refused as refused:
            told.append(Told(name, "", "left out", str(refused)))
            continue
        told += levels
        comparisons.append(comparison)
        shares[name] = own
    if not comparisons:
        hint = "; ".join(f"{one.comparison}: {one.reason}" for one in told[:5])
        raise BadInput("splink_empty", "None of the model's comparisons maps to one of ours.", hint=hint or "It has none.")
    keys, rules = _keys(raw.get("blocking_rules_to_generate_predictions", []), column_of)
    told += rules
    spec = Spec(tuple(comparisons), keys or PERSON.keys, PERSON.block_records, () if keys else PERSON.link_keys)
    spec = spec_of(toml_of(spec), "splink")  # the checks of a file of ours hold for it too
    pairs = {"same": prior * (records - 1) / 2}
    return Imported(Model(spec, records, pairs, 0.0, shares), tuple(told))


def weight_bits(model: Model, comparison: str, outcome: str) -> float:
    """log2 of m / u of an outcome."""
    shares = model.shares[comparison][outcome]
    return math.log2(shares[0] / shares[-1])


def _malformed(why: str) -> BadInput:
    return BadInput("splink_malformed", f"The Splink model cannot be read: {why}.", hint="linker.misc.save_model_to_json.")


def _read(content: bytes) -> dict[str, Any]:
    try:
        raw = msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise _malformed(str(error)) from error
    listed = raw.get("comparisons")
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise _malformed("it has no list of comparisons")
    return raw


def _named(name: str, taken: Mapping[str, Any]) -> str:
    plain = re.sub(r"[^a-z0-9_]+", "_", name.lower()).strip("_") or "comparison"
    while plain in taken:
        plain += "_2"
    return plain


def _column(name: str, column_of: Callable[[str], str | None]) -> str:
    return column_of(name) or ATTRIBUTE + name


# --- one comparison ------------------------------------------------------------------------------------------------


def _comparison(
    name: str, raw: Mapping[str, Any], column_of: Callable[[str], str | None]
) -> tuple[Comparison, dict[str, list[float]], list[Told]]:
    given = raw.get("comparison_levels")
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise _malformed(f"{name} has no list of levels")
    told: list[Told] = []
    levels: list[tuple[Level, Mapping[str, Any]]] = []
    columns: dict[str, None] = {}
    stated = [one for one in given if not one.get("is_null_level")]
    if not stated or stated[-1].get("sql_condition") != "ELSE":
        raise _Refused("its last level is not ELSE")
    for one in stated:
        label = str(one.get("label_for_charts", one.get("sql_condition", "")))
        try:
            _probabilities(one)
            if one is stated[-1]:
                column = test = ""
            else:
                column, derived, test = _test(str(one.get("sql_condition", "")), column_of)
                columns[column] = None
                test = f"{derived} {test}" if derived else test
        except _Refused as refused:
            if one is stated[0] or one is stated[-1]:
                raise _Refused(f"its {'first' if one is stated[0] else 'last'} level does not map: {refused}") from refused
            told.append(Told(name, label, "left out", f"{refused}; its pairs are taken for the next level that they pass"))
            continue
        if one is stated[0] and test != "equal":
            raise _Refused("its first level is not an exact match")
        banded = bool(one.get("tf_adjustment_column")) and bool(one.get("tf_adjustment_weight", 1.0))
        if banded and one is not stated[0]:
            told.append(Told(name, label, "approximated", "only the first level has a weight by how rare the value is"))
            banded = False
        elif banded:
            told.append(Told(name, label, "approximated", "term frequency by octaves of rarity, within half a bit"))
        else:
            told.append(Told(name, label, "mapped"))
        if len(columns) > 1:
            raise _Refused(f"its levels look at several columns: {', '.join(columns)}")
        level_name = "exact" if one is stated[0] else "different" if one is stated[-1] else f"level_{len(levels)}"
        m = min(1.0, float(one["m_probability"]))
        levels.append((Level(level_name, label, m, banded=banded, coarse=_coarse(one, stated), test=test), one))
    found = tuple(level for level, _ in levels)
    if len(found) < 2:
        raise _Refused("no level of it maps")
    return Comparison(name, "text", tuple(columns), found), _shares(levels), told


def _coarse(one: Mapping[str, Any], stated: Sequence[Mapping[str, Any]]) -> Any:
    return "exact" if one is stated[0] else "different" if one is stated[-1] else "near"


def _probabilities(raw: Mapping[str, Any]) -> tuple[float, float]:
    m, u = raw.get("m_probability"), raw.get("u_probability")
    for name, value in (("m", m), ("u", u)):
        if not isinstance(value, float | int) or isinstance(value, bool):
            raise _Refused(f"its {name} was never trained")
        if not 0.0 < value <= 1.0 + 1e-9:
            raise _Refused(f"its {name} is {value}, which has no weight")
    return float(m), float(u)  # type: ignore[arg-type]


def _test(condition: str, column_of: Callable[[str], str | None]) -> tuple[str, str, str]:
    """(our column, column derived from it or "", test) of an SQL condition."""
    text = " ".join(condition.split())
    while text.startswith("(") and text.endswith(")") and text.count("(") == 1:
        text = text[1:-1]
    if match := _EQUAL.fullmatch(text):
        return _same(match, column_of), "", "equal"
    if match := _MEASURED.fullmatch(text):
        return _same(match, column_of), "", _measure(match)
    if match := _DATES.fullmatch(text):
        return _same(match, column_of), "", f"days <= {float(match['n']) / _SECONDS_PER_DAY!r}"
    match = _PART_EQUAL.fullmatch(text) or _PART_MEASURED.fullmatch(text)
    if match is None or match["p"] != match["q"]:
        raise _Refused(f"the condition {text[:120]} has no counterpart")
    column = _same(match, column_of)
    derived = _PARTS.get((column, match["p"]))
    if derived is None:
        raise _Refused(f"{match['p']} of {column} is no column of ours")
    return column, derived, "equal" if match.re is _PART_EQUAL else _measure(match)


def _same(match: re.Match[str], column_of: Callable[[str], str | None]) -> str:
    if match["a"] != match["b"]:
        raise _Refused(f"it compares {match['a']} with {match['b']}")
    return _column(match["a"], column_of)


def _measure(match: re.Match[str]) -> str:
    measure = _MEASURES.get(match["f"].lower())
    if measure is None:
        raise _Refused(f"{match['f']} is none of our measures")
    if (match["op"] == ">=") != measure.startswith("jaro"):
        raise _Refused(f"{match['f']} {match['op']} says how different, not how alike")
    return f"{measure} {match['op']} {match['n']}"


def _shares(levels: Sequence[tuple[Level, Mapping[str, Any]]]) -> dict[str, list[float]]:
    """Outcome -> share by class: m for same, u for all others."""
    found: dict[str, list[float]] = {}
    for level, raw in levels:
        m, u = _probabilities(raw)
        if not level.banded:
            found[level.name] = [m] + [u] * (len(CLASSES) - 1)
            continue
        weight = float(raw.get("tf_adjustment_weight", 1.0))
        least = float(raw.get("tf_minimum_u_value", 0.0))
        for band in range(BANDS):
            frequency = max(2.0 ** -(band + 0.5), least)
            by_rarity = u * (frequency / u) ** weight
            found[f"{level.name} 2^-{band}"] = [m] + [by_rarity] * (len(CLASSES) - 1)
    return found


def _keys(raw: Any, column_of: Callable[[str], str | None]) -> tuple[tuple[BlockingKey, ...], list[Told]]:
    """Blocking rules that are equalities of columns as keys; others are listed."""
    keys: dict[str, BlockingKey] = {}
    told: list[Told] = []
    for one in raw if isinstance(raw, list) else []:
        rule = " ".join(str(one.get("blocking_rule", one) if isinstance(one, dict) else one).split())
        matches = [_BLOCK.fullmatch(part.strip()) for part in re.split(r"\s+AND\s+", rule)]
        if any(match is None or match["a"] != match["b"] for match in matches):
            told.append(Told("blocking", rule, "left out", "it is more than equal columns"))
            continue
        parts = tuple(dict.fromkeys(_column(match["a"], column_of) for match in matches if match))
        keys["+".join(parts)] = BlockingKey("+".join(parts), parts)
        told.append(Told("blocking", rule, "mapped"))
    if told and not keys:
        told.append(Told("blocking", "", "left out", "no rule maps: the keys of our default are used"))
    return tuple(keys.values()), told
