"""Trains who fits on what came of contacts.

In turn: what contacts have in common, given the agents; agents' effects, given what contacts have in common, with their
variances by the likelihood. Odds enter by their working response (penalised quasi-likelihood; Breslow and Clayton 1993).
Where agents' effects predict the newest contacts, which they were not trained on, worse than none at all do, none are kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from firstring.contact import Value
from firstring.errors import BadInput
from firstring.routing.fit.asked import UNKNOWN, segment_of
from firstring.routing.fit.model import FIELD, FORMAT, PRIOR, Content, FitModel, Part, Part3, rounded
from firstring.routing.fit.protected import refuse_protected
from firstring.routing.fit.regression import Factor, Fitted, Floats, factor, linear, logistic, odds
from firstring.routing.fit.tree import Data, Shape, smoothed, variances

ENOUGH: Final = 50
"""Judged contacts, before a part is trained; with fewer it is the prior."""
GAIN_ENOUGH: Final = 500
"""Judged contacts, before it is asked whether agents' effects predict the newest ones."""
NEWEST: Final = 0.2
ROUNDS: Final = 3
HANDLE_LEAST_S: Final = 1.0
HANDLE_MOST_S: Final = 14_400.0
SPREAD: Final = 0.5
"""How far levels of a factor are expected to differ (standard deviation, log odds or log seconds)."""
ACQUAINTED: Final = 0.2
"""The same of having served the customer before."""


class Outcome(Value, frozen=True):
    """What came of a contact with an agent. success, repeated: None where it is not known; handle_s: None where nobody
    talked. facts: further fields that the policy names."""

    agent_id: int
    channel: str
    intent: str = UNKNOWN
    language: str = UNKNOWN
    tier: str = UNKNOWN
    band: str = UNKNOWN
    language_level: int | None = None
    last_agent: bool = False
    met: bool = False
    facts: dict[str, str] = msgspec.field(default_factory=dict)
    handle_s: float | None = None
    success: bool | None = None
    repeated: bool | None = None


class _Rows(NamedTuple):
    """The outcomes as columns: factors; the leaf of each row; the three answers, nan where not known."""

    factors: tuple[Factor, ...]
    leaf: NDArray[np.int64]
    answers: dict[Part3, Floats]


class _Tree(NamedTuple):
    shape: Shape
    agents: tuple[int, ...]
    intents: tuple[str, ...]
    segments: tuple[str, ...]
    leaves: tuple[tuple[int, int, int], ...]


def train(
    outcomes: Sequence[Outcome], *, fields: Sequence[str] = (), since: datetime | None = None, until: datetime | None = None
) -> FitModel:
    """A model out of outcomes, the oldest first. fields: further fields of customers' profiles that enter.

    Raises BadInput feature_protected, outcomes_too_few.
    """
    refuse_protected(fields, "routing.fit_fields")
    known = {
        "success": sum(one.success is not None for one in outcomes),
        "handle": sum(one.handle_s is not None for one in outcomes),
        "repeat": sum(one.repeated is not None for one in outcomes),
    }
    if max(known.values(), default=0) < ENOUGH:
        raise BadInput(
            "outcomes_too_few",
            f"Nothing can be learned from {max(known.values(), default=0)} contacts.",
            where={"judged": known["success"], "timed": known["handle"], "followed": known["repeat"]},
            hint=f"At least {ENOUGH} contacts with an outcome code that [routing] success or others judge, or with a time.",
        )
    tree = _tree(outcomes)
    rows = _rows(outcomes, fields, tree)
    gain = (0.0, 0.0)
    with_agents = True
    if known["success"] >= GAIN_ENOUGH:
        gain = _gain(rows, tree.shape)
        with_agents = gain[0] >= -gain[1]
    parts = {name: _part(name, rows, tree.shape, known[name], with_agents=with_agents) for name in rows.answers}
    return FitModel(
        Content(
            FORMAT,
            "fitted",
            success=parts["success"],
            handle=parts["handle"],
            repeat=parts["repeat"],
            agents=tree.agents,
            intents=tree.intents,
            segments=tree.segments,
            leaves=tree.leaves,
            fields=tuple(fields),
            since="" if since is None else since.isoformat(),
            until="" if until is None else until.isoformat(),
            gain=(rounded(gain[0]), rounded(gain[1])),
        )
    )


def _tree(outcomes: Sequence[Outcome]) -> _Tree:
    agents = tuple(sorted({one.agent_id for one in outcomes}))
    intents = tuple(sorted({one.intent for one in outcomes}))
    segments = tuple(sorted({segment_of(one.tier, one.band) for one in outcomes}))
    agent_of, intent_of, segment_of_ = (
        {name: place for place, name in enumerate(names)} for names in (agents, intents, segments)
    )
    leaves = sorted(
        {(agent_of[one.agent_id], intent_of[one.intent], segment_of_[segment_of(one.tier, one.band)]) for one in outcomes}
    )
    pairs = [leaf[0] * len(intents) + leaf[1] for leaf in leaves]
    distinct, middle = np.unique(np.array(pairs, np.int64), return_inverse=True)
    shape = Shape(middle.astype(np.int64), distinct // len(intents), len(agents))
    return _Tree(shape, agents, intents, segments, tuple(leaves))


def _rows(outcomes: Sequence[Outcome], fields: Sequence[str], tree: _Tree) -> _Rows:
    place_of = {
        (tree.agents[a], tree.intents[i], tree.segments[s]): place for place, (a, i, s) in enumerate(tree.leaves)
    }  # fmt: skip
    yes = ("yes",)
    factors = [
        factor(name, [getattr(one, name) for one in outcomes], spread=SPREAD)
        for name in ("channel", "intent", "language", "tier", "band")
    ]
    factors += [
        factor(name, ["yes" if getattr(one, name) else "no" for one in outcomes], spread=ACQUAINTED, centred=False, only=yes)
        for name in ("last_agent", "met")
    ]
    spoken = ["" if one.language_level is None else str(one.language_level) for one in outcomes]
    factors.append(factor("language_level", spoken, spread=SPREAD, only=("0", "1", "2", "3", "4", "5")))
    factors += [factor(FIELD + name, [one.facts.get(name, UNKNOWN) for one in outcomes], spread=SPREAD) for name in fields]
    handle = np.array([math.nan if one.handle_s is None else one.handle_s for one in outcomes])
    return _Rows(
        tuple(factors),
        np.array([place_of[one.agent_id, one.intent, segment_of(one.tier, one.band)] for one in outcomes], np.int64),
        {
            "success": _flags([one.success for one in outcomes]),
            "handle": np.log(np.clip(handle, HANDLE_LEAST_S, HANDLE_MOST_S)),
            "repeat": _flags([one.repeated for one in outcomes]),
        },
    )


def _flags(values: Sequence[bool | None]) -> Floats:
    return np.array([math.nan if value is None else float(value) for value in values])


class _Learned(NamedTuple):
    """One part as trained: what contacts have in common, agents' variances, what leaves say, each row's agent's effect."""

    fitted: Fitted
    tau2: tuple[float, float, float]
    noise: float
    data: Data
    of_row: Floats


def _learn(name: Part3, rows: _Rows, chosen: NDArray[np.bool_], shape: Shape, *, with_agents: bool) -> _Learned:
    """One part out of the chosen rows."""
    factors = [one._replace(codes=one.codes[chosen]) for one in rows.factors]
    leaf, answers = rows.leaf[chosen], rows.answers[name][chosen]
    leaves = len(shape.middle)
    is_odds = name != "handle"
    effect = np.zeros(leaves)
    noise = 1.0 if is_odds else float(max(answers.var(), 1e-6))
    tau2 = (0.0, 0.0, 0.0)
    for _ in range(ROUNDS):
        offset = effect[leaf]
        fitted = logistic(factors, answers, offset) if is_odds else linear(factors, answers, offset, noise)
        if is_odds:
            data = _working(answers, fitted.predictor, effect, leaf, leaves)
        else:
            noise = _within(answers - fitted.predictor, leaf, leaves)
            data = _means(answers - fitted.predictor, leaf, leaves, noise)
        if with_agents:
            tau2 = variances(shape, data)
        effect = smoothed(shape, data, tau2).leaf.mean
    return _Learned(fitted, tau2, noise, data, effect[leaf])


def _working(worked: Floats, predictor: Floats, effect: Floats, leaf: NDArray[np.int64], leaves: int) -> Data:
    """What outcomes say of each leaf's log odds: a step of Newton's from where it stands, and its information."""
    chances = odds(predictor + effect[leaf])
    information = np.bincount(leaf, chances * (1.0 - chances), leaves).astype(np.float64)
    score = np.bincount(leaf, worked - chances, leaves).astype(np.float64)
    step = np.divide(score, information, out=np.zeros(leaves), where=information > 0.0)
    return Data(information, effect + step)


def _means(residual: Floats, leaf: NDArray[np.int64], leaves: int, noise: float) -> Data:
    counts = np.bincount(leaf, minlength=leaves).astype(np.float64)
    sums = np.bincount(leaf, residual, leaves).astype(np.float64)
    return Data(counts / noise, np.divide(sums, counts, out=np.zeros(leaves), where=counts > 0.0))


def _within(residual: Floats, leaf: NDArray[np.int64], leaves: int) -> float:
    """The variance of a row around its leaf's own mean; around all rows' where leaves hardly have more than one."""
    counts = np.bincount(leaf, minlength=leaves)
    free = int(counts.sum() - (counts > 0).sum())
    if free < ENOUGH:
        return float(max(residual.var(), 1e-6))
    means = np.bincount(leaf, residual, leaves) / np.maximum(counts, 1)
    return float(max(((residual - means[leaf]) ** 2).sum() / free, 1e-6))


def _part(name: Part3, rows: _Rows, shape: Shape, known: int, *, with_agents: bool) -> Part:
    leaves = len(shape.middle)
    if known < ENOUGH:
        prior = PRIOR.part(name)
        return msgspec.structs.replace(prior, rows=known, information=(0.0,) * leaves, mean=(0.0,) * leaves)
    chosen = np.isfinite(rows.answers[name])
    learned = _learn(name, rows, chosen, shape, with_agents=with_agents)
    smear = 1.0
    if name == "handle":
        seconds = np.exp(rows.answers[name][chosen])
        smear = float(seconds.mean() / np.exp(learned.fitted.predictor + learned.of_row).mean())
    return Part(
        intercept=rounded(learned.fitted.intercept),
        effects={
            name: {level: rounded(effect) for level, effect in levels.items()}
            for name, levels in learned.fitted.effects.items()
            if levels
        },
        tau2=(rounded(learned.tau2[0]), rounded(learned.tau2[1]), rounded(learned.tau2[2])),
        noise=rounded(learned.noise),
        smear=rounded(smear),
        rows=known,
        information=tuple(rounded(one) for one in learned.data.precision.tolist()),
        mean=tuple(rounded(one) for one in learned.data.mean.tolist()),
    )


def _gain(rows: _Rows, shape: Shape) -> tuple[float, float]:
    """By how many nats an outcome agents' effects better the prediction of the newest contacts' success; its error."""
    known = np.flatnonzero(np.isfinite(rows.answers["success"]))
    cut = known[int(len(known) * (1.0 - NEWEST))]
    older = np.isfinite(rows.answers["success"]) & (np.arange(len(rows.leaf)) < cut)
    newer = np.isfinite(rows.answers["success"]) & ~older
    worked, leaf = rows.answers["success"][newer], rows.leaf[newer]
    losses = []
    for with_agents in (False, True):
        learned = _learn("success", rows, older, shape, with_agents=with_agents)
        common = np.full(int(newer.sum()), learned.fitted.intercept)
        for one in rows.factors:
            common += np.array([0.0, *learned.fitted.effects[one.name].values()])[one.codes[newer]]
        chances = odds(common + smoothed(shape, learned.data, learned.tau2).leaf.mean[leaf])
        losses.append(-np.where(worked > 0.5, np.log(chances), np.log1p(-chances)))
    gains = losses[0] - losses[1]
    return float(gains.mean()), float(gains.std() / math.sqrt(len(gains)))
