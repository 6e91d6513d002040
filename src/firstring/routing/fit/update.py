"""What newer outcomes change of a trained model, between two trainings.

A leaf's posterior is normal, so an outcome adds its information to it and shifts its mean: exactly for handle times, by one
step of Newton's from what was predicted for odds. A contact of which it is uncertain whom it was with counts as all of its
cases, by the share of each (fit/cases.py). What contacts have in common, and the variances, stay as trained.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import msgspec
import numpy as np

from firstring.contact import Value
from firstring.routing.fit.cases import claimed
from firstring.routing.fit.model import FIELD, PARTS, Content, FitModel, Part, Part3, rounded
from firstring.routing.fit.regression import Floats, odds
from firstring.routing.fit.train import HANDLE_LEAST_S, HANDLE_MOST_S, INFORMS_LEAST, Outcome


class Added(Value, frozen=True):
    """What outcomes add to one leaf: for success, handle time and repeat contact (information, information x mean)."""

    agent: int
    intent: str
    segment: str
    success: tuple[float, float] = (0.0, 0.0)
    handle: tuple[float, float] = (0.0, 0.0)
    repeat: tuple[float, float] = (0.0, 0.0)


class Update(Value, frozen=True):
    """What a batch of outcomes adds to the model `parent`."""

    parent: str
    added: tuple[Added, ...]
    until: str = ""

    @property
    def version(self) -> str:
        """Of the model with it."""
        return "fit-" + hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()[:12]


def update_of(model: FitModel, outcomes: Sequence[Outcome], *, until: str = "") -> Update | None:
    """What outcomes add, as seen from the model before all of them; None where they say nothing. Their order is of no
    account."""
    found: dict[tuple[int, str, str], dict[Part3, list[tuple[float, float]]]] = {}
    for one in outcomes:
        for name in PARTS:
            answer = _answer(name, one)
            if answer is None:
                continue
            for case, said in zip(one.possible, _said(model, name, one, answer), strict=True):
                leaf = (one.agent_id, case.intent, case.segment)
                found.setdefault(leaf, {}).setdefault(name, []).append(said)
    added = []
    for leaf, parts in sorted(found.items()):
        sums: dict[Part3, tuple[float, float]] = {
            name: (rounded(math.fsum(one[0] for one in said)), rounded(math.fsum(one[1] for one in said)))
            for name, said in parts.items()
        }
        zero = (0.0, 0.0)
        of_handle, of_repeat = sums.get("handle", zero), sums.get("repeat", zero)
        added.append(Added(*leaf, sums.get("success", zero), of_handle, of_repeat))
    return Update(model.version, tuple(added), until) if added else None


def updated(model: FitModel, update: Update) -> FitModel:
    """The model with an update. Agents, intents and segments that are new join it."""
    content = model.content
    quickly = _in_place(model, update)
    if quickly is not None:
        return quickly
    agents = tuple(sorted({*content.agents, *(one.agent for one in update.added)}))
    intents = tuple(sorted({*content.intents, *(one.intent for one in update.added)}))
    segments = tuple(sorted({*content.segments, *(one.segment for one in update.added)}))
    places = [{name: place for place, name in enumerate(names)} for names in (agents, intents, segments)]
    told: dict[tuple[int, int, int], Added] = {
        (places[0][one.agent], places[1][one.intent], places[2][one.segment]): one for one in update.added
    }
    old = {
        (places[0][content.agents[a]], places[1][content.intents[i]], places[2][content.segments[s]]): place
        for place, (a, i, s) in enumerate(content.leaves)
    }
    leaves = tuple(sorted({*old, *told}))
    parts = {name: _with(model.part(name), name, leaves, old, told) for name in PARTS}
    changed = Content(
        content.format, content.basis, parts["success"], parts["handle"], parts["repeat"], agents, intents, segments, leaves,
        content.fields, content.since, update.until or content.until, content.gain,
    )  # fmt: skip
    return FitModel(changed, update.version)


def _in_place(model: FitModel, update: Update) -> FitModel | None:
    """The same where every leaf is there already; None where one is new."""
    content = model.content
    places = [model.place_of(one.agent, one.intent, one.segment) for one in update.added]
    if None in places:
        return None
    parts = {}
    for name in PARTS:
        part = model.part(name)
        information, mean = list(part.information), list(part.mean)
        for place, one in zip(places, update.added, strict=True):
            if place is not None:
                information[place], mean[place] = _added(information[place], mean[place], getattr(one, name))
        parts[name] = msgspec.structs.replace(part, information=tuple(information), mean=tuple(mean))
    found = msgspec.structs.replace(
        content, success=parts["success"], handle=parts["handle"], repeat=parts["repeat"],
        until=update.until or content.until,
    )  # fmt: skip
    return FitModel(found, update.version, shaped_as=model)


def _added(precision: float, mean: float, more: tuple[float, float]) -> tuple[float, float]:
    """A leaf's information and mean with an update's."""
    total = precision + more[0]
    if more[0] <= 0.0 or total <= 0.0:
        return precision, mean
    return rounded(total), rounded((precision * mean + more[1]) / total)


def _with(
    part: Part,
    name: Part3,
    leaves: tuple[tuple[int, int, int], ...],
    old: dict[tuple[int, int, int], int],
    told: dict[tuple[int, int, int], Added],
) -> Part:
    information, mean = [], []
    for leaf in leaves:
        place = old.get(leaf)
        precision, centre = (0.0, 0.0) if place is None else (part.information[place], part.mean[place])
        one = told.get(leaf)
        if one is not None:
            precision, centre = _added(precision, centre, getattr(one, name))
        information.append(precision)
        mean.append(centre)
    return msgspec.structs.replace(part, information=tuple(information), mean=tuple(mean))


def _answer(name: Part3, one: Outcome) -> float | None:
    if name == "handle":
        return None if one.handle_s is None else math.log(min(max(one.handle_s, HANDLE_LEAST_S), HANDLE_MOST_S))
    flag = one.success if name == "success" else one.repeated
    return None if flag is None else float(flag)


def predictors(model: FitModel, name: Part3, one: Outcome) -> tuple[Floats, Floats]:
    """For each case of an outcome: what contacts have in common, and the agent's own effect."""
    part = model.part(name)
    known = part.intercept + sum(
        part.effect(factor, level)
        for factor, level in (
            ("channel", one.channel), ("language", one.language),
            ("language_level", "" if one.language_level is None else str(one.language_level)),
        )
    )  # fmt: skip
    place = int(model.places_of(np.array([one.agent_id], np.int64))[0])
    commons, effects = [], []
    for case in one.possible:
        levels = [
            ("intent", case.intent), ("tier", case.tier), ("band", case.band),
            ("last_agent", "yes" if case.last_agent else "no"), ("met", "yes" if case.met else "no"),
            *((FIELD + field, level) for field, level in case.facts.items()),
        ]  # fmt: skip
        commons.append(known + sum(part.effect(factor, level) for factor, level in levels))
        effects.append(float(model.of_agents(name, case.intent, case.segment)[place]))
    return np.array(commons), np.array(effects)


def _said(model: FitModel, name: Part3, one: Outcome, answer: float) -> list[tuple[float, float]]:
    """What one outcome says of the effect of the leaf of each of its cases: information, and information x mean. A case
    counts for the share that it may claim by what came of it."""
    part = model.part(name)
    common, effect = predictors(model, name, one)
    if name == "handle":
        likelihood = np.exp(-0.5 * (answer - common - effect) ** 2 / part.noise)
        each, slope = np.full(len(common), 1.0 / part.noise), (answer - common - effect) / part.noise
    else:
        chances = odds(common + effect)
        likelihood = chances if answer > 0.5 else 1.0 - chances
        each, slope = np.maximum(chances * (1.0 - chances), 1e-6), answer - chances
    prior = np.array([case.weight for case in one.possible])
    share = claimed(prior, likelihood, np.zeros(len(prior), np.int64), 1)
    information = np.maximum(share * each - share * (1.0 - share) * slope**2, INFORMS_LEAST * share * each)
    return list(zip(information.tolist(), (information * effect + share * slope).tolist(), strict=True))
