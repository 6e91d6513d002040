"""What is to be expected of one contact with each of many agents."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from firstring.routing.fit.asked import UNKNOWN, Asked, Person, segment_of
from firstring.routing.fit.cases import CASES, parts
from firstring.routing.fit.model import FIELD, FitModel, Part, Part3
from firstring.routing.fit.side import joined

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Small = NDArray[np.float32]


class Fits(NamedTuple):
    """One contact with n agents. success, repeat: probabilities; handle_s: seconds, wrap-up included; mutual: success,
    changed by the agent's own side (fit/side.py). basis: prior or fitted."""

    success: Floats
    handle_s: Floats
    repeat: Floats
    mutual: Floats
    basis: str


class Term(NamedTuple):
    """What one part of a prediction adds: log odds of success and of repeat contact, log seconds."""

    name: str
    level: str
    success: float
    handle: float
    repeat: float


class Case(NamedTuple):
    """One possibility of what the contact is, with its probability."""

    intent: str
    tier: str
    band: str
    facts: tuple[tuple[str, str], ...]
    weight: float

    @property
    def segment(self) -> str:
        return segment_of(self.tier, self.band)


def cases_of(asked: Asked) -> list[Case]:
    """What the contact may be, the likeliest first; weights sum to 1."""
    weights: dict[tuple[str, str, str, tuple[tuple[str, str], ...]], float] = {}

    for intent, person, weight in parts(asked):
        if weight > 0.0:
            key = (intent, UNKNOWN, UNKNOWN, ()) if person is None else _key(intent, person)
            weights[key] = weights.get(key, 0.0) + weight
    first = sorted(weights.items(), key=lambda one: (-one[1], one[0]))[:CASES]
    total = sum(weight for _, weight in first)
    return [Case(*key, weight / total) for key, weight in first]


def _key(intent: str, person: Person) -> tuple[str, str, str, tuple[tuple[str, str], ...]]:
    return intent, person.tier, person.band, tuple(sorted(person.facts.items()))


def fits(
    model: FitModel,
    asked: Asked,
    ids: Integers,
    *,
    language: NDArray[np.int8] | None = None,
    side: Floats | None = None,
) -> Fits:
    """What is to be expected of a contact with each agent, by expectation over whom it may be and why.

    ids: (n,) agents, in any order, unknown ones among them: those are the population. language: (n,) each agent's level in
    asked.language, 0-5 with 0 for none; side: (n,) the agents' own probabilities (fit/side.py).
    """
    places = model.places_of(ids)
    cases = cases_of(asked)
    found: dict[Part3, Small] = {}
    names: tuple[Part3, ...] = ("success", "handle", "repeat")
    for name in names:
        part = model.part(name)
        spoken = _of_levels(part, language)
        total = np.zeros(len(ids), np.float32)
        for case in cases:
            predictor = model.of_agents(name, case.intent, case.segment)[places]
            predictor += np.float32(_in_common(part, asked, case))
            if spoken is not None:
                predictor += spoken
            total += np.float32(case.weight) * _answer(name, part, predictor)
        found[name] = total
    answers = {name: values.astype(np.float64) for name, values in found.items()}
    _acquainted(model, asked, ids, places, language, answers)
    success = answers["success"]
    return Fits(
        success=success,
        handle_s=answers["handle"],
        repeat=answers["repeat"],
        mutual=success.copy() if side is None else joined(success, side, model.mean_success),
        basis=model.basis,
    )


def _of_levels(part: Part, language: NDArray[np.int8] | None) -> Small | None:
    levels = part.effects.get("language_level")
    if language is None or not levels:
        return None
    table = np.array([levels.get(str(level), 0.0) for level in range(6)], np.float32)
    return table[np.clip(language, 0, 5)]


def _in_common(part: Part, asked: Asked, case: Case) -> float:
    """What all agents have in common for a case: the linear predictor without the agent."""
    found = part.intercept
    found += part.effect("channel", asked.channel) + part.effect("language", asked.language)
    found += part.effect("intent", case.intent) + part.effect("tier", case.tier) + part.effect("band", case.band)
    return found + sum(part.effect(FIELD + name, level) for name, level in case.facts)


def _answer(name: Part3, part: Part, predictor: Small) -> Small:
    if name == "handle":
        return np.exp(predictor) * np.float32(part.smear)
    return np.float32(1.0) / (np.float32(1.0) + np.exp(-predictor))


def _acquainted(
    model: FitModel,
    asked: Asked,
    ids: Integers,
    places: Integers,
    language: NDArray[np.int8] | None,
    answers: dict[Part3, Floats],
) -> None:
    """Corrects the few agents who know one of the persons: for them that person's cases are predicted anew."""
    of_id: dict[int, Integers] = {}
    scale = 1.0 / max(1.0, sum(person.probability for person in asked.persons))
    for person in asked.persons:
        for agent in dict.fromkeys((*(() if person.last_agent is None else (person.last_agent,)), *person.met)):
            if agent not in of_id:
                of_id[agent] = np.flatnonzero(ids == agent)
            for place in of_id[agent].tolist():
                level = None if language is None else int(language[place])
                for name, values in answers.items():
                    part = model.part(name)
                    known = part.effect("met", "yes")
                    if agent == person.last_agent:
                        known += part.effect("last_agent", "yes")
                    if known == 0.0:
                        continue
                    for intent, chance in (*person.intents, (UNKNOWN, 1.0 - sum(c for _, c in person.intents))):
                        weight = person.probability * scale * chance
                        if weight <= 0.0:
                            continue
                        case = Case(*_key(intent, person), weight)
                        own = float(model.of_agents(name, case.intent, case.segment)[places[place]])
                        own += _in_common(part, asked, case)
                        if level is not None:
                            own += part.effect("language_level", str(level))
                        values[place] += weight * (_one(name, part, own + known) - _one(name, part, own))


def _one(name: Part3, part: Part, predictor: float) -> float:
    if name == "handle":
        return math.exp(predictor) * part.smear
    return 1.0 / (1.0 + math.exp(-min(max(predictor, -30.0), 30.0)))


def explained(model: FitModel, asked: Asked, agent_id: int, *, language_level: int = 0) -> tuple[Term, ...]:
    """What each part of a prediction adds for one agent, in the likeliest case.

    Parts that add nothing are left out; the agent's own effect is told apart from that in this intent and this segment.
    """
    case = cases_of(asked)[0]
    parts: tuple[Part3, ...] = ("success", "handle", "repeat")
    levels = [("channel", asked.channel), ("language", asked.language), ("intent", case.intent), ("tier", case.tier)]
    levels += [("band", case.band), ("language_level", str(language_level))]
    levels += [(FIELD + name, level) for name, level in case.facts]
    served = [person for person in asked.persons if agent_id in person.met or agent_id == person.last_agent]
    if served:
        levels.append(("met", "yes"))
    if any(person.last_agent == agent_id for person in served):
        levels.append(("last_agent", "yes"))
    terms = [
        Term(factor, level, *(model.part(name).effect(factor, level) for name in parts))
        for factor, level in levels
    ]  # fmt: skip
    place = int(model.places_of(np.array([agent_id], np.int64))[0])
    agent = [float(model.of_agents(name)[place]) for name in parts]
    in_intent = [float(model.of_agents(name, case.intent)[place]) for name in parts]
    in_segment = [float(model.of_agents(name, case.intent, case.segment)[place]) for name in parts]
    terms.append(Term("agent", str(agent_id), *agent))
    terms.append(Term("agent_intent", case.intent, *(b - a for a, b in zip(agent, in_intent, strict=True))))
    terms.append(Term("agent_segment", case.segment, *(b - a for a, b in zip(in_intent, in_segment, strict=True))))
    return tuple(term for term in terms if any(term[2:]))
