"""A trial of two ways to route: what is compared, how chance decides, how long it takes, what stops it.

`contact`: each contact by itself. `switchback`: all contacts of an interval together, by chance anew in each interval, for
where contacts compete for the same agents (Bojinov, Simchi-Levi and Zhao 2023). Chance decides alone: nothing alternates,
and nothing is set aside until it has settled; a contact that felt two intervals counts by the probability of both.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal, get_args

import msgspec

from firstring.contact import Value
from firstring.errors import BadInput
from firstring.proof.power import ALPHA, POWER, needed
from firstring.routing.declared import fields
from firstring.routing.declared.policy import RoutingPolicy, routing_policy, routing_values

Kind = Literal["contact", "switchback"]
Metric = Literal["success", "handle_s", "wait_s", "abandoned", "repeated", "complained"]
METRICS: Final[tuple[Metric, ...]] = get_args(Metric)
SHARES: Final[tuple[Metric, ...]] = ("success", "abandoned", "repeated", "complained")
"""Metrics that are shares of contacts; the others are means of seconds."""
GUARDS: Final[dict[str, float]] = {"abandoned": 0.02, "wait_s": 15.0, "complained": 0.01}
"""Guard rails where a file names none: how much worse the treatment may be."""
JUDGING: Final = frozenset({"success", "not_judged", "promise_s", "promise_share"})
"""Keys of `[routing]` that no contact is routed by."""
DETECT: Final = 0.03
INTERVAL_S: Final = 1_800.0
CARRY_OVER_S: Final = 600.0
DAYS_MOST: Final = 365.0


class Guard(Value, frozen=True):
    """The trial stops where the treatment is worse than the control by more than `worse_by` (share, or seconds)."""

    metric: Metric
    worse_by: float


class Draft(Value, frozen=True):
    """A trial as it is written down. detect: the effect to be seen, relative to the control's mean. control, treatment: keys
    of `[routing]` that differ from the policy."""

    name: str
    kind: Kind
    metric: Metric
    detect: float
    share: float
    power: float
    interval_s: float
    carry_over_s: float
    control: dict[str, Any]
    treatment: dict[str, Any]
    guards: tuple[Guard, ...]


class Basis(Value, frozen=True):
    """What the plan rests on, out of the log: the metric's mean and variance, contacts a day, and how alike contacts of one
    interval are."""

    contacts: int
    mean: float
    variance: float
    per_day: float
    correlation: float = 0.0


class Trial(Value, frozen=True):
    """A trial that is planned. salt: what chance is drawn by, hex. contacts, days: how long it takes; design: how much
    longer intervals make it."""

    draft: Draft
    basis: Basis
    salt: str
    contacts: int
    days: float
    design: float
    started_at: datetime | None = None


def draft_from_toml(text: str, *, file: str = "", base: RoutingPolicy | None = None) -> Draft:
    """The trial in a TOML text (docs/trials.md). base: the policy in force, which both arms start from. Raises BadInput
    toml_invalid, plan_invalid, field_unknown and the codes of `routing_policy`."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        where = {"file": file} if file else {}
        raise BadInput(
            "toml_invalid", f"Not valid TOML: {error}", where=where, hint="See toml.io for the syntax."
        ) from error
    fields.known(raw, Draft.__struct_fields__, "")
    if "name" not in raw:
        raise _invalid("name", "The trial has no name.")
    kind, metric = raw.get("kind", "contact"), raw.get("metric", "success")
    if kind not in get_args(Kind):
        raise _invalid("kind", f"kind is one of {', '.join(get_args(Kind))}.")
    if metric not in METRICS:
        raise _invalid("metric", f"metric is one of {', '.join(METRICS)}.")
    control, treatment = (_overrides(raw.get(name, {}), name, base) for name in ("control", "treatment"))
    if routing_policy(control, base) == routing_policy(treatment, base):
        raise _invalid("treatment", "Control and treatment are the same: there is nothing to compare.")
    if "recognise" in {**control, **treatment} and len({**control, **treatment}) > 1:
        raise _invalid("treatment", "recognise is compared alone: with other keys both would change what is compared.")
    interval_s = fields.number(raw.get("interval_s", INTERVAL_S), "interval_s", 60.0, 86_400.0)
    return Draft(
        name=fields.slug(raw["name"], "name"),
        kind=kind,
        metric=metric,
        detect=fields.number(raw.get("detect", DETECT), "detect", 0.0001, 1.0),
        share=fields.number(raw.get("share", 0.5), "share", 0.01, 0.99),
        power=fields.number(raw.get("power", POWER), "power", 0.5, 0.999),
        interval_s=interval_s,
        carry_over_s=fields.number(raw.get("carry_over_s", min(CARRY_OVER_S, interval_s)), "carry_over_s", 0.0, interval_s),
        control=control,
        treatment=treatment,
        guards=_guards(raw.get("guards", GUARDS)),
    )


def basis_stated(draft: Draft, mean: float | None, per_day: float | None) -> Basis | None:
    """What a plan rests on where the log does not tell it; None where nothing is stated. Raises BadInput plan_invalid."""
    if mean is None and per_day is None:
        return None
    if mean is None or per_day is None or draft.metric not in SHARES:
        raise _invalid("mean", "Mean and contacts a day are given together, for metrics that are shares.")
    if not (0.0 < mean < 1.0 and 0.0 < per_day < math.inf):
        raise _invalid("mean", "A mean lies between 0 and 1, and some contacts come a day.")
    return Basis(0, mean, mean * (1.0 - mean), per_day)


def of_recognition(draft: Draft) -> bool:
    """Whether what is compared is knowing the caller beforehand. Then those contacts count whose caller is recognised, and
    from whom that may be withheld, in both arms alike: of all others both arms are the same."""
    return "recognise" in draft.treatment or "recognise" in draft.control


def _overrides(raw: object, where: str, base: RoutingPolicy | None) -> dict[str, Any]:
    table = fields.table(raw, where, 100)
    routing_policy(table, base)  # refuses what the policy does not know
    judging = sorted({*table} & JUDGING)
    if judging:
        raise _invalid(f"{where}.{judging[0]}", f"{judging[0]} says how contacts are judged: no arm is routed by it.")
    return table


def _guards(raw: object) -> tuple[Guard, ...]:
    table = fields.table(raw, "guards", len(METRICS))
    fields.known(table, METRICS, "guards")
    return tuple(
        Guard(metric, fields.number(table[metric], f"guards.{metric}", 0.0, 1.0 if metric in SHARES else 3_600.0))
        for metric in METRICS
        if metric in table
    )


def planned(draft: Draft, basis: Basis, salt: str) -> Trial:
    """How long it takes. Raises BadInput plan_invalid where the log tells no variance, or it would take more than a year."""
    if basis.per_day <= 0.0 or not math.isfinite(basis.mean) or basis.mean == 0.0:
        raise _invalid("metric", "The log has no contact by which this metric could be planned.")
    per_interval = basis.per_day * draft.interval_s / 86_400.0 if draft.kind == "switchback" else 1.0
    size = needed(
        basis.variance,
        draft.detect * basis.mean,
        share=draft.share,
        alpha=ALPHA,
        power=draft.power,
        cluster=per_interval,
        correlation=basis.correlation,
    )
    # Of contacts that felt two intervals fewer count for an arm, and those that do weigh more.
    felt_two = draft.carry_over_s / draft.interval_s if draft.kind == "switchback" else 0.0
    contacts = math.ceil(size.rows * (1.0 + felt_two))
    days = contacts / basis.per_day
    if days > DAYS_MOST:
        raise BadInput(
            "plan_too_long",
            f"It would take {contacts:,} contacts, which is {days:,.0f} days.",
            where={"detect": draft.detect, "contacts_per_day": round(basis.per_day, 1)},
            hint="Look for a larger effect (detect), or for another metric.",
        )
    return Trial(draft, basis, salt, contacts, days, size.design * (1.0 + felt_two))


def policy_of(base: RoutingPolicy, overrides: Mapping[str, Any]) -> RoutingPolicy:
    """The policy of an arm: the base with its own keys."""
    if not overrides:
        return base
    return msgspec.structs.replace(base, **routing_values(overrides))


def _invalid(field: str, message: str) -> BadInput:
    return BadInput("plan_invalid", message, where={"field": field}, hint="docs/trials.md says what a trial's file holds.")
