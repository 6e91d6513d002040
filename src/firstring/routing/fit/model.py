"""The model of who fits: one JSON text that people can read, without a value of any customer.

Three parts alike: success (log odds), handle time (log seconds), repeat contact (log odds). Each is what contacts have in
common (`effects`: factor -> level -> effect) plus the agent's own effect, a tree of agent, intent and segment (fit/tree.py).
Of each leaf the model holds what its outcomes say (information and mean), so new outcomes are added without the old ones.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from contextlib import suppress
from functools import cached_property
from typing import Any, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from firstring.contact import Value
from firstring.errors import BadInput
from firstring.routing.fit.protected import refuse_protected
from firstring.routing.fit.tree import Data, Shape, Smoothed, smoothed

FORMAT: Final = "firstring-fit/1"
DIGITS: Final = 7
"""Significant digits of numbers in the text; the model computes with them as they stand there."""
FIELD: Final = "field:"
"""Before the name of a factor that is a field of the policy's choice."""
FACTORS: Final = ("channel", "intent", "language", "tier", "band", "last_agent", "met", "language_level")
AGENTS_MAX: Final = 100_000
LEAVES_MAX: Final = 5_000_000
CACHED: Final = 256
PREDICTED_MOST: Final = 30.0
"""Log odds and log seconds that a file may lead to: beyond, a probability is 1, or seconds have no number."""
_TABLE_MAX: Final = 2_000_000
Part3 = Literal["success", "handle", "repeat"]
PARTS: Final[tuple[Part3, ...]] = ("success", "handle", "repeat")
Small = NDArray[np.float32]


class Part(Value, frozen=True):
    """One of the three. tau2: variances of agents, their intents, segments of these. noise: variance of log seconds around
    what is predicted (1 where odds are). smear: mean seconds over the exponential of what is predicted. rows: judged."""

    intercept: float
    effects: dict[str, dict[str, float]] = msgspec.field(default_factory=dict)
    tau2: tuple[float, float, float] = (0.0, 0.0, 0.0)
    noise: float = 1.0
    smear: float = 1.0
    rows: int = 0
    information: tuple[float, ...] = ()
    mean: tuple[float, ...] = ()

    def effect(self, factor: str, level: str) -> float:
        """What a level adds; nothing where it is unknown or was too rare to be learned."""
        levels = self.effects.get(factor)
        return 0.0 if levels is None else levels.get(level, 0.0)


class Content(Value, frozen=True):
    """leaves: (place of the agent in `agents`, of the intent in `intents`, of the segment in `segments`), sorted. gain: by
    how many nats an outcome the agents' effects bettered the prediction of the newest contacts, which they were not trained
    on, with its standard error."""

    format: str
    basis: Literal["prior", "fitted"]
    success: Part
    handle: Part
    repeat: Part
    agents: tuple[int, ...] = ()
    intents: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    leaves: tuple[tuple[int, int, int], ...] = ()
    fields: tuple[str, ...] = ()
    since: str = ""
    until: str = ""
    gain: tuple[float, float] = (0.0, 0.0)


class FitModel:
    """A model that is ready to be asked. Immutable but for what it has worked out before."""

    def __init__(self, content: Content, version: str = "", *, shaped_as: FitModel | None = None) -> None:
        """shaped_as: a model with the same agents, reasons, segments and leaves, whose tables it takes over."""
        self.content = content
        if shaped_as is not None:
            self.__dict__.update({name: getattr(shaped_as, name) for name in _OF_SHAPE})
        self.version = version or "fit-" + hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()[:12]
        self._cached: OrderedDict[tuple[str, str | None, str | None], Small] = OrderedDict()

    @property
    def basis(self) -> Literal["prior", "fitted"]:
        return self.content.basis

    @property
    def mean_success(self) -> float:
        """The probability of success of a contact of which nothing is known, with an agent of whom nothing is known."""
        return 1.0 / (1.0 + math.exp(-self.content.success.intercept))

    def part(self, name: Part3) -> Part:
        return {"success": self.content.success, "handle": self.content.handle, "repeat": self.content.repeat}[name]

    @cached_property
    def shape(self) -> Shape:
        """Where the leaves hang."""
        return self._keys[0]

    @cached_property
    def _keys(self) -> tuple[Shape, NDArray[np.int64]]:
        leaves = np.array(self.content.leaves, dtype=np.int64).reshape(-1, 3)
        pairs = leaves[:, 0] * max(len(self.content.intents), 1) + leaves[:, 1]
        distinct, middle = np.unique(pairs, return_inverse=True)
        agent = distinct // max(len(self.content.intents), 1)
        return Shape(middle.astype(np.int64), agent, len(self.content.agents)), distinct

    @cached_property
    def _leaf_place(self) -> dict[tuple[int, int, int], int]:
        return {leaf: place for place, leaf in enumerate(self.content.leaves)}

    @cached_property
    def _agent_place(self) -> dict[int, int]:
        return {agent: place for place, agent in enumerate(self.content.agents)}

    def place_of(self, agent: int, intent: str, segment: str) -> int | None:
        """Where a leaf stands; None where there is none."""
        places = (self._agent_place.get(agent), self._intent_place.get(intent), self._segment_place.get(segment))
        return None if None in places else self._leaf_place.get(places)  # type: ignore[arg-type]

    @cached_property
    def effects(self) -> dict[Part3, Smoothed]:
        """Posterior effects of all nodes, by part."""
        found: dict[Part3, Smoothed] = {}
        for name in PARTS:
            part = self.part(name)
            data = Data(np.array(part.information), np.array(part.mean))
            found[name] = smoothed(self.shape, data, part.tau2)
        return found

    def of_agents(self, name: Part3, intent: str | None = None, segment: str | None = None) -> Small:
        """The effect of each agent for an intent in a segment (None: of all), in the order of `content.agents`; one more at
        the end for an agent who is not known: none."""
        key = (name, intent, segment)
        known = self._cached.get(key)
        if known is not None:
            with suppress(KeyError):  # another thread (prices, regret) forgot it meanwhile
                self._cached.move_to_end(key)
            return known
        effects = self.effects[name]
        found = np.zeros(len(self.content.agents) + 1, np.float32)
        found[:-1] = effects.agent.mean
        if intent is not None and intent in self._intent_place:
            shape, pairs = self._keys
            width = max(len(self.content.intents), 1)
            of_intent = np.flatnonzero(pairs % width == self._intent_place[intent])
            found[shape.agent[of_intent]] = effects.middle.mean[of_intent]
            if segment is not None and segment in self._segment_place:
                leaves = self._leaves
                wanted = (leaves[:, 1] == self._intent_place[intent]) & (leaves[:, 2] == self._segment_place[segment])
                found[leaves[wanted, 0]] = effects.leaf.mean[wanted]
        self._cached[key] = found
        if len(self._cached) > CACHED:
            with suppress(KeyError):
                self._cached.popitem(last=False)
        return found

    @cached_property
    def _leaves(self) -> NDArray[np.int64]:
        return np.array(self.content.leaves, dtype=np.int64).reshape(-1, 3)

    @cached_property
    def _intent_place(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.content.intents)}

    @cached_property
    def _segment_place(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.content.segments)}

    @cached_property
    def _agent_ids(self) -> NDArray[np.int64]:
        return np.array(self.content.agents, dtype=np.int64)

    @cached_property
    def _agent_table(self) -> NDArray[np.int64] | None:
        ids = self._agent_ids
        if not len(ids) or int(ids[-1]) > _TABLE_MAX:
            return None
        table = np.full(int(ids[-1]) + 2, len(ids), np.int64)
        table[ids] = np.arange(len(ids))
        return table

    def places_of(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where agents stand in `content.agents`; its length for one who is not known."""
        count = len(self._agent_ids)
        table = self._agent_table
        if table is not None:
            found: NDArray[np.int64] = table[np.clip(ids, 0, len(table) - 1)]
            return found
        if not count:
            return np.zeros(len(ids), np.int64)
        places = np.searchsorted(self._agent_ids, ids)
        places[places == count] = 0
        return np.where(self._agent_ids[places] == ids, places, count)


_OF_SHAPE: Final = (
    "_keys", "_leaves", "_leaf_place", "_agent_place", "_intent_place", "_segment_place", "_agent_ids", "_agent_table",
)  # fmt: skip
"""What does not change with what outcomes say."""


def rounded(value: float) -> float:
    """A number as it stands in the text."""
    return float(f"{value:.{DIGITS}g}")


def _prior() -> FitModel:
    """What is assumed before anything is learned: all agents alike. That the last agent's call is shorter by 9 % (log -.096)
    was measured in the call centre of a bank (Anonymous Bank, Technion, 1999; four months)."""
    return FitModel(
        Content(
            FORMAT,
            "prior",
            success=Part(math.log(0.7 / 0.3)),
            handle=Part(math.log(190.0), {"last_agent": {"yes": -0.096}}, noise=0.83),
            repeat=Part(math.log(0.15 / 0.85)),
        )
    )


PRIOR: Final = _prior()


def model_to_json(model: FitModel) -> str:
    """The model as a file, indented for people."""
    return msgspec.json.format(msgspec.json.encode(model.content), indent=1).decode()


def model_from_json(text: str | bytes, *, version: str = "", file: str = "") -> FitModel:
    """The model in a file's text.

    Raises BadInput fit_model_invalid, fit_model_version (made by another version of the format), feature_protected.
    """
    where: dict[str, Any] = {"file": file} if file else {}
    try:
        stated = msgspec.json.decode(text, type=dict[str, Any]).get("format")
    except msgspec.DecodeError as error:
        raise _invalid(f"It is no JSON object: {error}", where) from None
    if stated != FORMAT:
        raise BadInput(
            "fit_model_version",
            "The model is of another format than this program's.",
            where={**where, "format": str(stated)[:40], "expected": FORMAT},
            hint="Train it anew: firstring routing train.",
        )
    try:
        content = msgspec.json.decode(text, type=Content)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise _invalid(str(error), where) from None
    _check(content, where)
    return FitModel(content, version)


def _check(content: Content, where: dict[str, Any]) -> None:
    """What training cannot have written is refused."""
    refuse_protected([*content.fields], "fields")
    agents, leaves = content.agents, content.leaves
    if len(agents) > AGENTS_MAX or len(leaves) > LEAVES_MAX:
        raise _invalid("It holds too many agents.", where)
    if list(agents) != sorted(set(agents)) or any(agent < 1 for agent in agents):
        raise _invalid("agents are numbers above 0, ascending, each once.", where)
    if list(leaves) != sorted(set(leaves)):
        raise _invalid("leaves are ascending, each once.", where)
    bounds = (len(agents), len(content.intents), len(content.segments))
    if any(not 0 <= place < bound for leaf in leaves for place, bound in zip(leaf, bounds, strict=True)):
        raise _invalid("A leaf names an agent, intent or segment that is not listed.", where)
    for name in PARTS:
        part: Part = getattr(content, name)
        named = [factor.removeprefix(FIELD) for factor in part.effects if factor not in FACTORS]
        refuse_protected(named, f"{name}.effects")
        if any(factor not in FACTORS and not factor.startswith(FIELD) for factor in part.effects):
            raise _invalid(f"{name}.effects names a factor that is not known.", where)
        numbers = [part.intercept, part.noise, part.smear, *part.tau2, *part.information, *part.mean]
        numbers += [effect for levels in part.effects.values() for effect in levels.values()]
        if not all(math.isfinite(number) for number in numbers):
            raise _invalid(f"{name} holds a number that is none.", where)
        if min(part.noise, part.smear) <= 0.0 or min((*part.tau2, *part.information), default=0.0) < 0.0:
            raise _invalid(f"{name}: noise and smear are above 0, tau2 and information not below.", where)
        if not len(part.information) == len(part.mean) == len(leaves):
            raise _invalid(f"{name}: information and mean are one number for each leaf.", where)
    for name, effects in FitModel(content).effects.items():
        part = getattr(content, name)
        most = abs(part.intercept) + abs(math.log(part.smear)) + float(np.max(np.abs(effects.leaf.mean), initial=0.0))
        most += sum(max(map(abs, levels.values()), default=0.0) for levels in part.effects.values())
        if not most <= PREDICTED_MOST:
            raise _invalid(f"{name} predicts what no contact is like: its effects are too large.", where)


def _invalid(message: str, where: dict[str, Any]) -> BadInput:
    return BadInput(
        "fit_model_invalid",
        f"Not a model of who fits. {message}",
        where=where,
        hint="Use a file written by firstring routing models --save.",
    )
