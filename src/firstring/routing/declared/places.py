"""Places that are no agent's, as the policy declares them: self-service that stands beside the agents, and where contacts
go when nobody may serve them or the wait gets long."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, get_args

import msgspec

from firstring.contact import Channel
from firstring.errors import BadInput
from firstring.routing.declared import fields
from firstring.routing.may import conditions

SELF_SERVICE_MAX: Final = 50
OVERFLOW_MAX: Final = 100
STEPS_MAX: Final = 8
SECONDS_MAX: Final = 86_400.0
ADDRESS_CHARS: Final = 512
BETA_MAX: Final = 1e6
STEP: Final = "/"
"""Between the name of an overflow and the number of its step, in the name of the place."""

_CHANNELS: Final[tuple[str, ...]] = get_args(Channel)
_URI: Final = re.compile(r"(?:sips?|tel):[^\s<>\"'\\\x00-\x20\x7f-\uffff]{1,500}")
_ADDRESS: Final = re.compile(rf"[!-~]{{1,{ADDRESS_CHARS}}}")


class SelfService(msgspec.Struct, frozen=True, kw_only=True):
    """An automated treatment beside the agents: a voice flow, a bot, a page; the adapter carries out what `address` names.

    For contacts on `channels` of one of `intents` (none: of any) of which `when` holds for candidates of `probability`
    together. success: what is expected before anything is known, as (done there, came back) of so many contacts (Beta
    prior); what comes of contacts is added. cost: points of success that sending somebody there costs.
    """

    name: str
    address: str
    channels: tuple[str, ...] = ("voice",)
    when: str = "true"
    probability: float = 0.5
    intents: tuple[str, ...] = ()
    success: tuple[float, float] = (1.0, 1.0)
    cost: float = 0.0
    at_once: int = 0
    """About so many contacts are there at the same time at most, as each server sees it within seconds; 0: any number."""

    def expected(self, contained: int, back: int) -> float:
        """The mean of the posterior, in (0, 1)."""
        done, failed = self.success[0] + contained, self.success[1] + back
        return done / (done + failed)

    def is_for(self, channel: str, intent: str | None) -> bool:
        """Whether it serves contacts of this channel and reason; `billing` covers `billing.dispute`."""
        if channel not in self.channels:
            return False
        return not self.intents or (
            intent is not None and (intent in self.intents or intent.partition(".")[0] in self.intents)
        )


class OverflowStep(msgspec.Struct, frozen=True, kw_only=True):
    """Once the estimated wait has been longer than `wait_over_s` for `for_s` seconds (None: only where nobody who is signed
    in may serve the contact, which passes every bound at once): agents of `team` may serve it too, or it goes `to` an
    address."""

    wait_over_s: float | None = None
    for_s: float = 0.0
    team: str | None = None
    to: str | None = None


class Overflow(msgspec.Struct, frozen=True, kw_only=True):
    """What happens, step by step, to contacts of which `when` holds for candidates of `probability` together."""

    name: str
    when: str = "true"
    probability: float = 0.5
    channels: tuple[str, ...] = ()
    steps: tuple[OverflowStep, ...]

    def place(self, step: int) -> str:
        """The name of the place of a step, counted from 0."""
        return f"{self.name}{STEP}{step + 1}"


def self_services(value: object, where: str) -> tuple[SelfService, ...]:
    """The table `[[routing.self_service]]`. Raises BadInput with where.field."""
    found = tuple(
        _self_service(fields.table(raw, f"{where}[{number}]", 20), f"{where}[{number}]")
        for number, raw in enumerate(fields.sequence(value, where, SELF_SERVICE_MAX))
    )
    _once([one.name for one in found], where)
    return found


def overflows(value: object, where: str) -> tuple[Overflow, ...]:
    """The table `[[routing.overflow]]`. Raises BadInput with where.field."""
    found = tuple(
        _overflow(fields.table(raw, f"{where}[{number}]", 10), f"{where}[{number}]")
        for number, raw in enumerate(fields.sequence(value, where, OVERFLOW_MAX))
    )
    _once([one.name for one in found], where)
    return found


def summed_up(services: Sequence[SelfService], rules: Sequence[Overflow]) -> list[str]:
    """What was declared, a line each, as `firstring routing check` shows it."""
    lines = []
    for one in services:
        reasons = ", ".join(one.intents) or "any reason"
        cost = f", costs {one.cost:g}" if one.cost else ""
        what = f"{', '.join(one.channels)}, {reasons}; {one.expected(0, 0):.0%} expected{cost}"
        lines.append(f"self-service {one.name}: {what}; to {one.address}")
    for rule in rules:
        steps = []
        for step in rule.steps:
            over = "where nobody may serve it" if step.wait_over_s is None else f"past a wait of {step.wait_over_s:g} s"
            for_s = f" for {step.for_s:g} s" if step.for_s and step.wait_over_s is not None else ""
            steps.append(f"{over}{for_s} {'the team ' + step.team if step.team else 'to ' + str(step.to)}")
        lines.append(f"overflow {rule.name}: {'; then '.join(steps)}")
    return lines


def _self_service(raw: dict[str, Any], at: str) -> SelfService:
    fields.known(raw, SelfService.__struct_fields__, at)
    when = raw.get("when", "true")
    conditions.on_contact(when, f"{at}.when")
    channels = _channels(raw.get("channels", ("voice",)), f"{at}.channels")
    if not channels:
        raise _invalid(f"{at}.channels", "Name at least one channel.")
    success = fields.sequence(raw.get("success", (1.0, 1.0)), f"{at}.success", 2)
    if len(success) != 2:
        raise _invalid(f"{at}.success", "Give two numbers: how many contacts are done there, and how many are not.")
    prior = [fields.number(one, f"{at}.success", 0.01, BETA_MAX) for one in success]
    return SelfService(
        name=_name(raw.get("name"), f"{at}.name"),
        address=_address(raw.get("address"), f"{at}.address", is_voice="voice" in channels),
        channels=channels,
        when=when,
        probability=fields.number(raw.get("probability", 0.5), f"{at}.probability", 0.0, 1.0),
        intents=_names(raw.get("intents", ()), f"{at}.intents"),
        success=(prior[0], prior[1]),
        cost=fields.number(raw.get("cost", 0.0), f"{at}.cost", 0.0, 10.0),
        at_once=fields.whole(raw.get("at_once", 0), f"{at}.at_once", 0, 1_000_000),
    )


def _overflow(raw: dict[str, Any], at: str) -> Overflow:
    fields.known(raw, Overflow.__struct_fields__, at)
    when = raw.get("when", "true")
    conditions.on_contact(when, f"{at}.when")
    channels = _channels(raw.get("channels", ()), f"{at}.channels")
    steps = tuple(
        _step(
            fields.table(step, f"{at}.steps[{number}]", 8),
            f"{at}.steps[{number}]",
            is_voice=not channels or "voice" in channels,
        )
        for number, step in enumerate(fields.sequence(raw.get("steps", ()), f"{at}.steps", STEPS_MAX))
    )
    if not steps:
        raise _invalid(f"{at}.steps", 'Give at least one step, such as {wait_over_s = 300, to = "sip:desk@other.example"}.')
    return Overflow(
        name=_name(raw.get("name"), f"{at}.name"),
        when=when,
        probability=fields.number(raw.get("probability", 0.5), f"{at}.probability", 0.0, 1.0),
        channels=channels,
        steps=steps,
    )


def _step(raw: dict[str, Any], at: str, *, is_voice: bool) -> OverflowStep:
    fields.known(raw, OverflowStep.__struct_fields__, at)
    if ("team" in raw) == ("to" in raw):
        raise _invalid(at, "Say either which team may serve too (team), or where it goes (to).")
    wait = raw.get("wait_over_s")
    return OverflowStep(
        wait_over_s=None if wait is None else fields.number(wait, f"{at}.wait_over_s", 0.0, SECONDS_MAX),
        for_s=fields.number(raw.get("for_s", 0.0), f"{at}.for_s", 0.0, SECONDS_MAX),
        team=fields.slug(raw["team"], f"{at}.team") if "team" in raw else None,
        to=_address(raw["to"], f"{at}.to", is_voice=is_voice) if "to" in raw else None,
    )


def _name(value: object, where: str) -> str:
    name = fields.slug(value, where)
    if STEP in name:
        raise _invalid(where, f"A name has no {STEP}.")
    return name


def _names(value: object, where: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(fields.slug(name, where) for name in fields.sequence(value, where, 100)))


def _channels(value: object, where: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(fields.slug(name, where) for name in fields.sequence(value, where, len(_CHANNELS))))
    for channel in found:
        if channel not in _CHANNELS:
            raise BadInput(
                "channel_unknown", "Not a channel", where={"field": where}, hint=f"One of: {', '.join(_CHANNELS)}."
            )
    return found


def _address(value: object, where: str, *, is_voice: bool) -> str:
    """A SIP or tel URI where calls go there; else whatever the adapter knows (an address, a name), without blanks."""
    text = value if isinstance(value, str) else ""
    if not (_URI if is_voice else _ADDRESS).fullmatch(text):
        hint = (
            "Write it as sip:user@host:port or tel:+44..., without display name, blanks or quotes."
            if is_voice
            else f"1 to {ADDRESS_CHARS} printable characters without blanks: an address, or a name that the adapter knows."
        )
        raise _invalid(where, hint)
    return text


def _once(names: list[str], where: str) -> None:
    twice = [name for number, name in enumerate(names) if name in names[:number]]
    if twice:
        raise BadInput("name_twice", "The same name stands there twice", where={"field": f"{where}.{twice[0]}"})


def _invalid(field: str, hint: str) -> BadInput:
    return BadInput("place_invalid", "A place that contacts cannot be sent to", where={"field": field}, hint=hint)
