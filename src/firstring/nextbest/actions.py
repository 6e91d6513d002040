"""What an action is: what may be proposed, to whom, when, over which route, how often, and what it is worth.

Actions are declared in YAML (nextbest/declaring.py); the catalogue that comes along is in nextbest/library. Values and costs
are in one unit of money. A chance that is declared is an assumption; what happens to the action corrects it (learning/).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, Literal, NamedTuple

from firstring.contact import Reason
from firstring.nextbest.delivery import Route
from firstring.nextbest.hours import ALWAYS, Hours
from firstring.nextbest.situation import Situation

Kind = Literal["service", "safety", "self_service", "verification", "offer"]
Of = Literal["action", "route", "kind", "everyone"]

ALL_CHANNELS: Final = frozenset(("voice", "chat", "email", "web", "messaging", "social", "mobile"))
PUSHED: Final[frozenset[str]] = frozenset(("email", "sms", "push", "webhook", "callback"))
"""Routes that reach somebody who is not there by themselves: an offer over one of them needs consent."""
DESK: Final = "desk"
VERSION: Final = "actions-3"
"""How actions are read and chosen; part of the version of every catalogue."""


class Fit(NamedTuple):
    """How probable it is that an action helps now, in [0, 1] (0: it does not apply), and why.

    weight: of the moment (C). value: money, where it depends on the moment. context: what is learned apart. touch: the
    event that `recent` found, in words.
    """

    probability: float
    reason: Reason
    weight: float = 1.0
    value: float | None = None
    context: str = ""
    touch: str = ""


@dataclass(frozen=True, slots=True)
class Cap:
    """At most `most` times in any `per_ms`. of: this action to this person; any over its route to this person; any of its
    kind to this person; this action to everyone together."""

    most: int
    per_ms: int
    of: Of = "action"


@dataclass(frozen=True, slots=True)
class Trigger:
    """When an action is considered: in a contact; when one of these patterns has fired (after a delay, if one is given); by
    hand always."""

    contact: bool = True
    patterns: frozenset[str] = frozenset()
    after_ms: int = 0


@dataclass(frozen=True, slots=True)
class Goal:
    """What shows that it worked: one of these events within so long. Without one, being accepted does."""

    events: frozenset[str]
    within_ms: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """Offers of the catalogue that an action shows: so many at most, of one category ("": any)."""

    most: int
    category: str = ""


@dataclass(frozen=True, slots=True)
class Content:
    """What the customer gets: language -> field (title, text, ...) -> text with words in braces. fallback: a language."""

    languages: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    fallback: str = ""

    def best_of(self, language: str | None) -> tuple[str, Mapping[str, str]]:
        """The texts in this language (de-AT falls back to de), else in the fallback."""
        asked = (language or "").replace("_", "-").lower()
        for code in (asked, asked.partition("-")[0]):
            if code in self.languages:
                return code, self.languages[code]
        return self.fallback, self.languages.get(self.fallback, {})


@dataclass(frozen=True, slots=True)
class Action:
    """One action that may be proposed.

    name: stable, unique in a catalogue. text: for the agent; may use the words of `situation.words`. value, cost:
    money. lever: a weight set by the business (L). personal: about one person, so it needs an identified one.
    sells: a sale though not of kind offer (an abandoned cart); every offer sells. fallback: proposed only when
    nothing else is. channels: of contacts in which it may be proposed. route: over which it is delivered. answered_on: a
    channel of agents of whom one has to be free. form: what it looks like on a page. purpose: for which consent is asked.
    expires_ms: how long it is good for. base: how often what it is after happens by itself, before hold-outs have shown it.
    """

    name: str
    kind: Kind
    text: str
    applies: Callable[[Situation], Fit] = field(compare=False)
    value: float = 0.0
    cost: float = 0.0
    lever: float = 1.0
    channels: frozenset[str] = ALL_CHANNELS
    personal: bool = True
    sells: bool = False
    fallback: bool = False
    route: Route = "desk"
    trigger: Trigger = Trigger()
    answered_on: str = ""
    purpose: str = ""
    base: float = 0.0
    caps: tuple[Cap, ...] = ()
    hours: Hours = ALWAYS
    content: Content = Content()
    form: str = "popup"
    offers: Wanted | None = None
    goal: Goal | None = None
    expires_ms: int = 30 * 60_000
    title: str = ""
    digest: str = ""
    file: str = ""
    line: int = 0
    asks: frozenset[str] = field(default=frozenset(), compare=False)
    """The variables that its expressions name."""

    is_sale: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_sale", self.sells or self.kind == "offer")

    @property
    def consented_for(self) -> str:
        """The purpose for which consent is asked."""
        return self.purpose or ("marketing" if self.is_sale else "service")

    def score(self, fit: Fit, chance: float | None = None) -> float:
        """P x C x V x L. chance: what was learned of P, where it was."""
        value = self.value if fit.value is None else fit.value
        return (fit.probability if chance is None else chance) * fit.weight * value * self.lever


@dataclass(frozen=True, slots=True)
class Policy:
    """What holds for all actions. holdout: the share of people to whom no offer is made, so that it shows what happens by
    itself. explored: among how many of the best it is drawn. zone: where nothing tells the customer's own."""

    holdout: float = 0.05
    explored: int = 4
    zone: str = "UTC"
    caps: tuple[tuple[frozenset[str], frozenset[str], Cap], ...] = ()
    """(kinds, routes, cap): on top of each action's own; an empty set means all."""
    hours: Mapping[str, Hours] = field(default_factory=dict)
    """Route -> hours that hold whatever the action says."""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the gates ask of an action, worked out once.

    is_reached: whether there is anything but the locks. purpose, consent: what consent is asked for. hours, caps: its own
    and the policy's; equal hours are one object. capped: each cap with what is counted for it: of what, in which time (ms).
    good_for: after its pattern. alike: equal for actions that everything but caps and offers is asked alike of.
    """

    is_reached: bool
    purpose: str
    consent: str
    hours: tuple[Hours, ...]
    caps: tuple[Cap, ...]
    capped: tuple[tuple[Cap, tuple[Of, str, int]], ...]
    good_for: timedelta
    alike: int


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Actions in a stable order (by name), what holds for all of them, and a version out of their content."""

    actions: tuple[Action, ...]
    version: str
    policy: Policy = Policy()
    by_name: Mapping[str, Action] = field(default_factory=dict, compare=False)
    in_contact: tuple[Action, ...] = field(default=(), compare=False)
    by_pattern: Mapping[str, tuple[Action, ...]] = field(default_factory=dict, compare=False)
    plans: Mapping[str, Plan] = field(default_factory=dict, compare=False)


def caps_of(action: Action, policy: Policy) -> tuple[Cap, ...]:
    """The caps of an action: its own and those of the policy. Safety has none."""
    if action.kind == "safety":
        return ()
    own = [
        cap
        for kinds, routes, cap in policy.caps
        if (not kinds or action.kind in kinds) and (not routes or action.route in routes)
    ]
    return (*action.caps, *own)


def _plan(action: Action, policy: Policy, one_of: dict[Hours, Hours], alike: dict[tuple[Any, ...], int]) -> Plan:
    both = (action.hours, policy.hours.get(action.route, ALWAYS))
    caps = caps_of(action, policy)
    named = {"action": action.name, "route": str(action.route)}
    purpose = action.purpose or ("marketing" if action.is_sale else "service")
    hours = () if action.kind == "safety" else tuple(one_of.setdefault(each, each) for each in both if each != ALWAYS)
    good_for = timedelta(milliseconds=action.trigger.after_ms + action.expires_ms)
    asked = (action.route, action.kind == "safety", action.is_sale, purpose, hours, action.answered_on, good_for)
    return Plan(
        is_reached=action.route != DESK
        or action.is_sale
        or bool(action.answered_on or caps or action.offers or action.hours != ALWAYS),
        purpose=purpose,
        consent=f"{purpose}/{action.route}",
        hours=hours,
        caps=caps,
        capped=tuple((cap, (cap.of, named.get(cap.of, action.kind), cap.per_ms)) for cap in caps),
        good_for=good_for,
        alike=alike.setdefault(asked, len(alike)),
    )


def catalogue(actions: Sequence[Action], policy: Policy | None = None) -> Catalogue:
    """A catalogue of these actions; its version depends on their content, not on their order.

    Raises ValueError when two have the same name.
    """
    policy = policy or Policy()
    ordered = tuple(sorted(actions, key=lambda action: action.name))
    by_name = {action.name: action for action in ordered}
    if len(by_name) != len(ordered):
        raise ValueError("two actions of a catalogue have the same name")
    content = [
        (a.name, a.kind, a.text, a.value, a.cost, a.lever, sorted(a.channels), a.personal, a.sells, a.fallback, a.digest)
        for a in ordered
    ]
    digest = hashlib.sha256(repr((VERSION, policy.digest, content)).encode()).hexdigest()[:12]
    one_of: dict[Hours, Hours] = {}
    alike: dict[tuple[Any, ...], int] = {}
    by_pattern: dict[str, list[Action]] = {}
    for action in ordered:
        for pattern in action.trigger.patterns:
            by_pattern.setdefault(pattern, []).append(action)
    return Catalogue(
        ordered,
        f"actions-{digest}",
        policy,
        by_name,
        tuple(action for action in ordered if action.trigger.contact),
        {pattern: tuple(found) for pattern, found in by_pattern.items()},
        {action.name: _plan(action, policy, one_of, alike) for action in ordered},
    )
