"""Trains who fits on what came of contacts.

A contact of which it is not certain whom it was with, or why, counts as all of its cases, each for the share that it may
claim by what came of it (fit/cases.py): in turn with all else until the shares stand still.

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
from firstring.routing.fit.asked import UNKNOWN
from firstring.routing.fit.cases import Possible, claimed
from firstring.routing.fit.model import FIELD, FORMAT, PRIOR, Content, FitModel, Part, Part3, rounded
from firstring.routing.fit.protected import refuse_protected
from firstring.routing.fit.regression import STEPS, Factor, Fitted, Floats, factor, linear, logistic, odds
from firstring.routing.fit.tree import Data, Shape, smoothed, variances

ENOUGH: Final = 50
"""Judged contacts, before a part is trained; with fewer it is the prior."""
GAIN_ENOUGH: Final = 500
"""Judged contacts, before it is asked whether agents' effects predict the newest ones."""
NEWEST: Final = 0.2
ROUNDS: Final = 3
ROUNDS_UNCERTAIN: Final = 60
"""At most, where contacts are of several cases."""
STILL: Final = 2e-4
"""The mean by which shares of uncertain contacts change, below which they stand still."""
INFORMS_LEAST: Final = 0.05
"""Of what a contact would say if its case were known, it says at least so much."""
HANDLE_LEAST_S: Final = 1.0
HANDLE_MOST_S: Final = 14_400.0
SPREAD: Final = 0.5
"""How far levels of a factor are expected to differ (standard deviation, log odds or log seconds)."""
ACQUAINTED: Final = 0.2
"""The same of having served the customer before."""


class Outcome(Value, frozen=True):
    """What came of a contact with an agent. success, repeated: None where it is not known; handle_s: None where nobody
    talked. facts: further fields that the policy names. cases: whom it may have been with and why; empty where intent, tier,
    band, last_agent, met and facts say that for certain."""

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
    cases: tuple[Possible, ...] = ()

    @property
    def possible(self) -> tuple[Possible, ...]:
        """Its cases; the one where it is certain."""
        if self.cases:
            return self.cases
        return (Possible(1.0, self.intent, self.tier, self.band, self.last_agent, self.met, self.facts),)


class _Rows(NamedTuple):
    """The cases of all outcomes as columns: factors; the leaf of each; the three answers of its contact, nan where not
    known; the probability of the case, and which contact it is of."""

    factors: tuple[Factor, ...]
    leaf: NDArray[np.int64]
    answers: dict[Part3, Floats]
    prior: Floats
    of: NDArray[np.int64]


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
            http_status=409,
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
    cases = [case for one in outcomes for case in one.possible]
    intents = tuple(sorted({case.intent for case in cases}))
    segments = tuple(sorted({case.segment for case in cases}))
    agent_of, intent_of, segment_of_ = (
        {name: place for place, name in enumerate(names)} for names in (agents, intents, segments)
    )
    leaves = sorted(
        {
            (agent_of[one.agent_id], intent_of[case.intent], segment_of_[case.segment])
            for one in outcomes
            for case in one.possible
        }
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
    flat = [(place, one, case) for place, one in enumerate(outcomes) for case in one.possible]
    prior = np.array([case.weight for _, _, case in flat])
    of = np.array([place for place, _, _ in flat], np.int64)
    weights = None if len(flat) == len(outcomes) else prior
    columns = {
        "channel": [one.channel for _, one, _ in flat],
        "intent": [case.intent for _, _, case in flat],
        "language": [one.language for _, one, _ in flat],
        "tier": [case.tier for _, _, case in flat],
        "band": [case.band for _, _, case in flat],
    }
    factors = [factor(name, values, spread=SPREAD, weights=weights) for name, values in columns.items()]
    factors += [
        factor(
            name, ["yes" if getattr(case, name) else "no" for _, _, case in flat], spread=ACQUAINTED, centred=False,
            only=yes, weights=weights,
        )
        for name in ("last_agent", "met")
    ]  # fmt: skip
    spoken = ["" if one.language_level is None else str(one.language_level) for _, one, _ in flat]
    factors.append(factor("language_level", spoken, spread=SPREAD, only=("0", "1", "2", "3", "4", "5"), weights=weights))
    factors += [
        factor(FIELD + name, [case.facts.get(name, UNKNOWN) for _, _, case in flat], spread=SPREAD, weights=weights)
        for name in fields
    ]
    handle = np.array([math.nan if one.handle_s is None else one.handle_s for one in outcomes])
    answers: dict[Part3, Floats] = {
        "success": _flags([one.success for one in outcomes]),
        "handle": np.log(np.clip(handle, HANDLE_LEAST_S, HANDLE_MOST_S)),
        "repeat": _flags([one.repeated for one in outcomes]),
    }
    return _Rows(
        tuple(factors),
        np.array([place_of[one.agent_id, case.intent, case.segment] for _, one, case in flat], np.int64),
        {name: values[of] for name, values in answers.items()},
        prior,
        of,
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
    leaf, answers, prior = rows.leaf[chosen], rows.answers[name][chosen], rows.prior[chosen]
    of = np.unique(rows.of[chosen], return_inverse=True)[1]
    contacts = int(of[-1]) + 1
    is_certain = len(prior) == contacts
    uncertain = int((np.bincount(of) > 1).sum())
    leaves = len(shape.middle)
    is_odds = name != "handle"
    effect = np.zeros(leaves)
    noise = 1.0 if is_odds else float(max(answers.var(), 1e-6))
    tau2 = (0.0, 0.0, 0.0)
    share, turn, is_still = prior, 0, False
    fitted: Fitted | None = None
    while True:
        turn += 1
        is_last = turn >= (ROUNDS if is_certain else ROUNDS_UNCERTAIN) or is_still
        offset = effect[leaf]
        weights = None if is_certain else share
        if is_odds:
            # Where the shares still move, one step towards the best is as good as the best.
            steps = 1 if fitted is not None and not is_certain and not is_last else STEPS
            fitted = logistic(factors, answers, offset, weights, start=None if is_certain else fitted, steps=steps)
        else:
            fitted = linear(factors, answers, offset, noise, weights)
        if not is_odds:
            noise = _within(answers - fitted.predictor, share, leaf, leaves)
        said = _said(answers, fitted.predictor, effect, leaf, leaves, share, noise, is_odds=is_odds)
        if with_agents and (is_certain or is_last or turn & (turn - 1) == 0):  # the search is dear: at 1, 2, 4, 8, ...
            tau2 = variances(shape, said.observed)
        effect = smoothed(shape, said.observed if is_last else said.whole, tau2).leaf.mean
        if is_last:
            return _Learned(fitted, tau2, noise, said.observed, effect[leaf])
        if not is_certain:
            before = share
            share = claimed(
                prior, _likelihood(answers, fitted.predictor + effect[leaf], noise, is_odds=is_odds), of, contacts
            )
            is_still = turn >= ROUNDS and float(np.abs(share - before).sum()) < STILL * uncertain


def _likelihood(answers: Floats, predictor: Floats, noise: float, *, is_odds: bool) -> Floats:
    """Of what came of each row, up to a constant."""
    if is_odds:
        chances = odds(predictor)
        return np.where(answers > 0.5, chances, 1.0 - chances)
    found: Floats = np.exp(-0.5 * (answers - predictor) ** 2 / noise)
    return found


class _Leaves(NamedTuple):
    """What outcomes say of each leaf. whole: as if the cases were known by their shares; observed: without what is not known
    by not knowing the case (Louis 1982). Where all is certain they are the same."""

    whole: Data
    observed: Data


def _said(
    answers: Floats,
    predictor: Floats,
    effect: Floats,
    leaf: NDArray[np.int64],
    leaves: int,
    share: Floats,
    noise: float,
    *,
    is_odds: bool,
) -> _Leaves:
    """A step of Newton's from where each leaf stands, and its information. Of log seconds that is exact."""
    if is_odds:
        chances = odds(predictor + effect[leaf])
        each, slope = chances * (1.0 - chances), answers - chances
    else:
        each, slope = np.full(len(answers), 1.0 / noise), (answers - predictor - effect[leaf]) / noise
    score = np.bincount(leaf, share * slope, leaves).astype(np.float64)
    information = np.bincount(leaf, share * each, leaves).astype(np.float64)
    missing = np.bincount(leaf, share * (1.0 - share) * slope**2, leaves).astype(np.float64)
    found = []
    for known in (information, np.maximum(information - missing, INFORMS_LEAST * information)):
        step = np.divide(score, known, out=np.zeros(leaves), where=known > 0.0)
        found.append(Data(known, effect + step))
    return _Leaves(*found)


def _within(residual: Floats, share: Floats, leaf: NDArray[np.int64], leaves: int) -> float:
    """The variance of a row around its leaf's own mean; around all rows' where leaves hardly have more than one."""
    counts = np.bincount(leaf, share, leaves)
    free = float(counts.sum() - np.minimum(counts, 1.0).sum())
    if free < ENOUGH:
        centre = float(share @ residual / share.sum())
        return float(max(share @ (residual - centre) ** 2 / share.sum(), 1e-6))
    means = np.bincount(leaf, share * residual, leaves) / np.maximum(counts, 1e-12)
    return float(max((share * (residual - means[leaf]) ** 2).sum() / free, 1e-6))


def _part(name: Part3, rows: _Rows, shape: Shape, known: int, *, with_agents: bool) -> Part:
    leaves = len(shape.middle)
    if known < ENOUGH:
        prior = PRIOR.part(name)
        return msgspec.structs.replace(prior, rows=known, information=(0.0,) * leaves, mean=(0.0,) * leaves)
    chosen = np.isfinite(rows.answers[name])
    learned = _learn(name, rows, chosen, shape, with_agents=with_agents)
    smear = 1.0
    if name == "handle":
        weights = rows.prior[chosen]
        seconds = np.exp(rows.answers[name][chosen])
        predicted = np.exp(learned.fitted.predictor + learned.of_row)
        smear = float((weights @ seconds) / (weights @ predicted))
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
    is_known = np.isfinite(rows.answers["success"])
    known = np.unique(rows.of[is_known])
    cut = known[int(len(known) * (1.0 - NEWEST))]
    older, newer = is_known & (rows.of < cut), is_known & (rows.of >= cut)
    worked, leaf, prior = rows.answers["success"][newer], rows.leaf[newer], rows.prior[newer]
    of = np.unique(rows.of[newer], return_inverse=True)[1]
    losses = []
    for with_agents in (False, True):
        learned = _learn("success", rows, older, shape, with_agents=with_agents)
        common = np.full(int(newer.sum()), learned.fitted.intercept)
        for one in rows.factors:
            common += np.array([0.0, *learned.fitted.effects[one.name].values()])[one.codes[newer]]
        predictor = common + smoothed(shape, learned.data, learned.tau2).leaf.mean[leaf]
        losses.append(-np.log(np.bincount(of, prior * _likelihood(worked, predictor, 1.0, is_odds=True))))
    gains = losses[0] - losses[1]
    return float(gains.mean()), float(gains.std() / math.sqrt(len(gains)))
