"""A world: agents, contacts, patience, service, who suits whom. Read from TOML and checked, every field with its place."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from firstring.errors import BadInput
from firstring.routing.declared import fields

HOURS_MAX: Final = 24.0 * 31
AGENTS_MAX: Final = 10_000
CONTACTS_MAX: Final = 5_000_000
"""Expected arrivals of one world."""


class AgentGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Agents who are alike but for the spread that `[compatibility]` gives them."""

    name: str
    count: int
    """1 to 10,000."""
    skills: tuple[str, ...] = ()
    """Skills that they have; a type that asks for none is served by everybody."""
    places: int = 1
    """Contacts that one agent serves at a time, 1 to 50."""
    shifts: tuple[tuple[float, float], ...] = ()
    """Hours [from, to] in which they are signed in; none: always."""
    speed: float = 1.0
    """Mean handle times are multiplied by this, .05 to 20."""
    learning: float = 0.0
    """How much slower (log) and less successful (log-odds) they are when the world begins, 0 to 3; no model knows of it."""
    learning_hours: float = 2.0
    """What is left of that falls to 1/e in so many hours, .01 to 744."""


class ContactType(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of contact."""

    name: str
    per_hour: tuple[float, ...]
    """Arrivals in each hour of the world; one number for all, or a list that repeats (24 numbers: a day)."""
    handle_s: float = 190.0
    """Mean handle time."""
    handle_log_sd: float = 0.91
    """Spread of the handle times (lognormal); not used with handle = "exponential"."""
    handle: str = "lognormal"
    """lognormal or exponential."""
    patience_s: float = 396.0
    """Mean of the exponential patience; 0: nobody hangs up."""
    success: float = 0.66
    """Probability of success with a middling agent, 0 to 1."""
    skills: tuple[str, ...] = ()
    """Skills that an agent needs, all of them."""
    value: float = 1.0
    """Worth of a success."""


class Compatibility(msgspec.Struct, frozen=True, kw_only=True):
    """Who suits whom: log-odds of success = type + agent + type x agent + customer . agent."""

    agent_sd: float = 0.1
    """Spread of the agents' own effect on success, in log-odds."""
    type_agent_sd: float = 0.6
    """Spread of the effect of a pair of type and agent."""
    customer_sd: float = 0.9
    """Spread of the effect of a pair of customer and agent."""
    dimensions: int = 3
    """Traits that customers and agents have; customer_sd works through them."""
    speed_log_sd: float = 0.23
    """Spread of the agents' speed."""
    type_speed_log_sd: float = 0.16
    """Spread of the speed of a pair of type and agent."""
    fit_speed: float = 0.08
    """How much shorter (log) a contact is for each unit of log-odds by which the agent suits it."""


class ModelError(msgspec.Struct, frozen=True, kw_only=True):
    """What the policies know of it."""

    error: float = 0.0
    """Spread of the model's error in log-odds (and of its log handle times), as a multiple of the true spread."""
    useless: bool = False
    """Nothing of what is predicted is true: predictions are those of another world."""


class Ringing(msgspec.Struct, frozen=True, kw_only=True):
    """What happens between the pick and the conversation."""

    seconds: float = 0.0
    """An agent's telephone rings so long before it is answered."""
    no_answer: float = 0.0
    """Probability that it is not answered; the contact keeps its place."""
    no_answer_s: float = 15.0
    """The ring is given up after so long."""
    away_s: float = 60.0
    """An agent who did not answer gets nothing for so long."""


class World(msgspec.Struct, frozen=True, kw_only=True):
    """All that a simulation needs but its seed."""

    name: str
    hours: float
    warm_up_hours: float
    target_s: float
    """Service level: answered within this time."""
    structure_seed: int
    """Draws agents and compatibility; the seed of a run draws contacts."""
    agents: tuple[AgentGroup, ...]
    types: tuple[ContactType, ...]
    compatibility: Compatibility
    model: ModelError
    ringing: Ringing

    @property
    def agent_count(self) -> int:
        return sum(group.count for group in self.agents)

    @property
    def per_hour(self) -> float:
        """Mean arrivals an hour, all types."""
        return sum(sum(kind.per_hour) / len(kind.per_hour) for kind in self.types)

    @property
    def load(self) -> float:
        """Work offered (erlangs) over agents' places that are signed in on average; agents' spread left out."""
        work = sum(sum(k.per_hour) / len(k.per_hour) * k.handle_s / 3600.0 for k in self.types)
        seats = 0.0
        for group in self.agents:
            present = sum(to - since for since, to in group.shifts) / self.hours if group.shifts else 1.0
            seats += group.count * group.places * present / group.speed
        return work / seats


SCHEMA: Final = """\
# A world of `firstring simulate`. Every field with its default; [[agents]] and [[types]] may stand there several times.

[world]
name = "my centre"
hours = 9.0             # simulated, up to 744
warm_up_hours = 1.0     # not counted in the figures
target_s = 20.0         # service level: answered within
structure_seed = 1      # draws the agents and who suits whom; --seed draws the contacts

[[agents]]              # required: one group or more
name = "all"            # required
count = 40              # required, 1-10000 in all
skills = []             # what they can do: ["spanish", "billing"]
places = 1              # contacts at a time, 1-50
shifts = []             # [[0.0, 4.5], [5.0, 9.0]]: hours signed in; none: always
speed = 1.0             # handle times are multiplied by this, 0.05-20
learning = 0.0          # slower (log) and less successful (log-odds) by this at first, 0-3; no model knows of it
learning_hours = 2.0    # hours in which what is left of that falls to 1/e, 0.01-744

[[types]]               # required: one type or more
name = "question"       # required
per_hour = 720.0        # required: arrivals; a list is by hour and repeats
handle_s = 190.0        # mean handle time
handle_log_sd = 0.91    # its spread, 0-3 (lognormal)
handle = "lognormal"    # or "exponential"
patience_s = 396.0      # mean of the exponential patience; 0: nobody hangs up
success = 0.66          # with a middling agent, 0-1
skills = []             # an agent needs all of these
value = 1.0             # worth of a success

[compatibility]         # log-odds of success = type + agent + type x agent + customer . agent
agent_sd = 0.1          # agents as such, 0-5
type_agent_sd = 0.6     # pairs of type and agent, 0-5
customer_sd = 0.9       # pairs of customer and agent, 0-5, by
dimensions = 3          # so many traits, 0-32
speed_log_sd = 0.23     # agents' speed, 0-2
type_speed_log_sd = 0.16  # speed of pairs of type and agent, 0-2
fit_speed = 0.08        # contacts are shorter (log) for each unit of log-odds by which the agent suits them, 0-1

[model]                 # what the policies know of it
error = 0.0             # spread of the error as a multiple of the signal's, 0-10
useless = false         # true: predictions are those of another world

[ringing]
seconds = 0.0           # until an agent answers
no_answer = 0.0         # probability, 0 to below 1
no_answer_s = 15.0      # given up after
away_s = 60.0           # nothing is offered to an agent who did not answer, for
"""
"""What `firstring simulate --schema` prints; itself a world."""


def world_from_toml(text: str, *, file: str = "") -> World:
    """The world in a TOML text.

    Raises BadInput with where.field (and where.file): toml_invalid, world_incomplete, world_inconsistent, field_unknown,
    number_out_of_range, name_invalid, name_twice, list_expected, table_expected, too_many_entries.
    """
    try:
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise BadInput("toml_invalid", f"Not valid TOML: {error}", hint="See toml.io for the syntax.") from error
        return world_of(document)
    except BadInput as error:
        if file:
            error.where = {"file": file, **error.where}
        raise


def world_of(document: Mapping[str, Any]) -> World:
    """The world in a parsed document."""
    fields.known(document, ("world", "agents", "types", "compatibility", "model", "ringing"), "")
    world = fields.table(document.get("world", {}), "world", 20)
    fields.known(world, ("name", "hours", "warm_up_hours", "target_s", "structure_seed"), "world")
    hours = fields.number(world.get("hours", 9.0), "world.hours", 0.01, HOURS_MAX)
    warm_up = fields.number(world.get("warm_up_hours", min(1.0, hours / 4)), "world.warm_up_hours", 0.0, HOURS_MAX)
    if warm_up >= hours:
        raise _inconsistent("world.warm_up_hours", "The warm-up must end before the world does")
    name = world.get("name", "world")
    if not isinstance(name, str) or not 1 <= len(name) <= 200 or not name.isprintable():
        raise BadInput("name_invalid", "A name of 1 to 200 printable characters", where={"field": "world.name"})
    made = World(
        name=name,
        hours=hours,
        warm_up_hours=warm_up,
        target_s=fields.number(world.get("target_s", 20.0), "world.target_s", 0.0, 86_400.0),
        structure_seed=fields.whole(world.get("structure_seed", 1), "world.structure_seed", 0, 2**63 - 1),
        agents=tuple(_group(raw, f"agents[{i}]", hours) for i, raw in enumerate(_several(document, "agents"))),
        types=tuple(_type(raw, f"types[{i}]") for i, raw in enumerate(_several(document, "types"))),
        compatibility=Compatibility(**_numbers(document, "compatibility", _COMPATIBILITY)),
        model=_model(document),
        ringing=_ringing(document),
    )
    _check(made)
    return made


_COMPATIBILITY: Final = {
    "agent_sd": 5.0,
    "type_agent_sd": 5.0,
    "customer_sd": 5.0,
    "dimensions": 32,
    "speed_log_sd": 2.0,
    "type_speed_log_sd": 2.0,
    "fit_speed": 1.0,
}
_RINGING: Final = {"seconds": 120.0, "no_answer": 0.999, "no_answer_s": 300.0, "away_s": 86_400.0}


def _several(document: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    entries = fields.sequence(document.get(name, []), name, 1_000)
    if not entries:
        raise BadInput(
            "world_incomplete",
            f"A world needs at least one [[{name}]]",
            where={"field": name},
            hint="`firstring simulate --schema` prints a whole one.",
        )
    return [fields.table(entry, f"{name}[{i}]", 50) for i, entry in enumerate(entries)]


def _numbers(document: Mapping[str, Any], name: str, most: Mapping[str, float]) -> dict[str, Any]:
    raw = fields.table(document.get(name, {}), name, 50)
    fields.known(raw, most, name)
    return {
        key: fields.whole(value, f"{name}.{key}", 0, int(most[key]))
        if isinstance(most[key], int)
        else fields.number(value, f"{name}.{key}", 0.0, most[key])
        for key, value in raw.items()
    }


def _model(document: Mapping[str, Any]) -> ModelError:
    raw = fields.table(document.get("model", {}), "model", 10)
    fields.known(raw, ModelError.__struct_fields__, "model")
    useless = raw.get("useless", False)
    if not isinstance(useless, bool):
        raise _inconsistent("model.useless", "true or false was expected")
    return ModelError(error=fields.number(raw.get("error", 0.0), "model.error", 0.0, 10.0), useless=useless)


def _ringing(document: Mapping[str, Any]) -> Ringing:
    return Ringing(**_numbers(document, "ringing", _RINGING))


def _group(raw: Mapping[str, Any], at: str, hours: float) -> AgentGroup:
    fields.known(raw, AgentGroup.__struct_fields__, at)
    _needed(raw, at, "name", "count")
    shifts: list[tuple[float, float]] = []
    for i, shift in enumerate(fields.sequence(raw.get("shifts", []), f"{at}.shifts", 500)):
        place = f"{at}.shifts[{i}]"
        pair = fields.sequence(shift, place, 2)
        if len(pair) != 2:
            raise BadInput("list_expected", "A shift is [from, to] in hours", where={"field": place})
        since, to = (fields.number(value, place, 0.0, hours) for value in pair)
        if to <= since or (shifts and since < shifts[-1][1]):
            raise _inconsistent(place, "Shifts must have a length, follow one another and not overlap")
        shifts.append((since, to))
    return AgentGroup(
        name=fields.slug(raw["name"], f"{at}.name"),
        count=fields.whole(raw["count"], f"{at}.count", 1, AGENTS_MAX),
        skills=_skills(raw, at),
        places=fields.whole(raw.get("places", 1), f"{at}.places", 1, 50),
        shifts=tuple(shifts),
        speed=fields.number(raw.get("speed", 1.0), f"{at}.speed", 0.05, 20.0),
        learning=fields.number(raw.get("learning", 0.0), f"{at}.learning", 0.0, 3.0),
        learning_hours=fields.number(raw.get("learning_hours", 2.0), f"{at}.learning_hours", 0.01, HOURS_MAX),
    )


def _type(raw: Mapping[str, Any], at: str) -> ContactType:
    fields.known(raw, ContactType.__struct_fields__, at)
    _needed(raw, at, "name", "per_hour")
    rate = raw["per_hour"]
    rates = fields.sequence(rate, f"{at}.per_hour", 1_000) if isinstance(rate, list) else [rate]
    if not rates:
        raise BadInput("list_expected", "At least one number is needed", where={"field": f"{at}.per_hour"})
    handle = raw.get("handle", "lognormal")
    if handle not in ("lognormal", "exponential"):
        raise _inconsistent(f"{at}.handle", "lognormal or exponential was expected")
    return ContactType(
        name=fields.slug(raw["name"], f"{at}.name"),
        per_hour=tuple(fields.number(value, f"{at}.per_hour", 0.0, 1_000_000.0) for value in rates),
        handle_s=fields.number(raw.get("handle_s", 190.0), f"{at}.handle_s", 1.0, 86_400.0),
        handle_log_sd=fields.number(raw.get("handle_log_sd", 0.91), f"{at}.handle_log_sd", 0.0, 3.0),
        handle=handle,
        patience_s=fields.number(raw.get("patience_s", 396.0), f"{at}.patience_s", 0.0, 1e9),
        success=fields.number(raw.get("success", 0.66), f"{at}.success", 0.0, 1.0),
        skills=_skills(raw, at),
        value=fields.number(raw.get("value", 1.0), f"{at}.value", 0.0, 1_000.0),
    )


def _skills(raw: Mapping[str, Any], at: str) -> tuple[str, ...]:
    wanted = fields.sequence(raw.get("skills", []), f"{at}.skills", 100)
    return tuple(dict.fromkeys(fields.slug(skill, f"{at}.skills") for skill in wanted))


def _needed(raw: Mapping[str, Any], at: str, *names: str) -> None:
    for name in names:
        if name not in raw:
            raise BadInput("world_incomplete", "A field is missing", where={"field": f"{at}.{name}"})


def _check(world: World) -> None:
    if world.agent_count > AGENTS_MAX:
        raise BadInput("too_many_entries", f"More than {AGENTS_MAX} agents", where={"field": "agents"})
    if world.per_hour * world.hours > CONTACTS_MAX:
        raise BadInput("too_many_entries", f"More than {CONTACTS_MAX} contacts are expected", where={"field": "types"})
    for kind, entries in (("agents", world.agents), ("types", world.types)):
        names = [entry.name for entry in entries]
        for i, name in enumerate(names):
            if name in names[:i]:
                raise BadInput("name_twice", "The same name stands there twice", where={"field": f"{kind}[{i}].name"})
    for i, kind_ in enumerate(world.types):
        if not any(set(kind_.skills) <= set(group.skills) for group in world.agents):
            raise BadInput(
                "world_inconsistent",
                f"No agent has the skills that {kind_.name} needs: nobody could ever be served",
                where={"field": f"types[{i}].skills"},
                hint="Give a group of agents these skills.",
            )
    if world.per_hour == 0.0:
        raise _inconsistent("types", "Nobody ever arrives")


def _inconsistent(field: str, message: str) -> BadInput:
    return BadInput("world_inconsistent", message, where={"field": field})
