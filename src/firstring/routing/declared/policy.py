"""The routing policy: one named table that says what a contact needs, how that relaxes, and who goes first.

Written in TOML as `[routing]`; every setting has a default. The version is derived from the content, so that a stored
decision names exactly the policy it rests on.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from firstring.errors import BadInput
from firstring.routing.declared import fields
from firstring.routing.declared.places import Overflow, SelfService, overflows, self_services
from firstring.routing.fit.protected import refuse_protected
from firstring.routing.may import conditions
from firstring.routing.pick.choose import HOLDING

SECONDS_MAX: Final = 3_600.0
PRIORITY_MAX: Final = 1_000
HOLD_S_MAX: Final = 120.0
TEAM_FOR_S: Final = 15.0
"""How long a team has its contacts to itself where the policy does not say."""
PICKS: Final = ("best", "first_come")
RULES_MAX: Final = 100
STEPS_MAX: Final = 8
KEEP_FREE_MAX: Final = 1_000
ENTRIES_MAX: Final = 1_000
"""Intents or called numbers in one policy."""


class TierRule(msgspec.Struct, frozen=True, kw_only=True):
    """What a customer tier brings: points of priority, and a team that has the contact to itself for `team_for_s`."""

    priority: int = 0
    team: str | None = None
    team_for_s: float = 0.0
    value: float = 1.0
    """What success with such a customer is worth, against 1 for most: who fits counts for so much more."""
    keep_free: int = 0
    """So many agents of those who may serve a contact of a lower tier (or of none) are left free for customers of this."""
    keep_free_for_s: float = 20.0
    """A contact that has waited so long takes them too."""
    keep_free_seen_s: float = 1_800.0
    """Nobody is kept where no customer of the tier came within so long..."""
    keep_free_line: int = 20
    """... or so many wait."""


class CalledRule(msgspec.Struct, frozen=True, kw_only=True):
    """What a called number (or queue name) asks for. licences are never relaxed."""

    skills: dict[str, int] = {}
    language: str | None = None
    priority: int = 0
    licences: tuple[str, ...] = ()


class RuleStep(msgspec.Struct, frozen=True, kw_only=True):
    """A condition on the agent (CEL), and for how many seconds of waiting it is asked for; None: for good."""

    agent: str
    for_s: float | None = None


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """Steps of requirements for contacts of which `when` holds (CEL over contact and customer).

    Whoever meets a step that was reached may serve: a later one only ever lets more agents in. Where the last step has an
    end, anybody may after it. It counts where `when` holds for candidates of this probability together.
    """

    name: str
    when: str = "true"
    probability: float = 0.5
    steps: tuple[RuleStep, ...]


class RoutingPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """One routing policy. Seconds are counted from the moment the contact was offered.

    Priority is counted in points; one point is worth `ageing_s_per_point` seconds of waiting, so nobody is overtaken
    by anyone who came more than `priority_max * ageing_s_per_point` seconds later (30 s as it is delivered).
    """

    language_level: int = 4
    """Level of the contact's language that is asked for at first (1-5)."""
    language_level_relaxed: int = 2
    """Level that is enough from `language_relaxed_after_s` on."""
    language_relaxed_after_s: float = 20.0
    language_dropped_after_s: float = 40.0
    """From then on the language is no longer asked for."""
    language_probability: float = 0.6
    """A customer's own language counts where the candidates who have it reach this probability together."""
    skill_relaxed_after_s: float = 30.0
    """From then on level 1 of each skill is enough."""
    skill_dropped_after_s: float = 60.0
    """From then on anyone on the channel who is left by the other requirements will do."""
    intent_probability: float = 0.3
    """The most probable reason counts from this probability on (candidate times reason)."""
    team_probability: float = 0.5
    """A tier's team is asked for where the candidates of that tier reach this probability together."""
    tiers: dict[str, TierRule] = msgspec.field(
        default_factory=lambda: {"vip": TierRule(priority=30, team="vip", team_for_s=TEAM_FOR_S)}
    )
    """Customer tier (field `tier` of a record) to what it brings."""
    issues: dict[str, int] = msgspec.field(default_factory=lambda: {"complaint": 12, "outage": 6, "refund": 3})
    """Kind of open issue to points of priority; the highest of a candidate counts, by the candidate's probability."""
    intents: dict[str, dict[str, int]] = {}
    """Reason for the contact to the skills it needs, with levels."""
    licences: dict[str, tuple[str, ...]] = {}
    """Reason for the contact to the licences it needs; they are never relaxed."""
    rules: tuple[Rule, ...] = ()
    """Requirements in CEL, with steps."""
    called: dict[str, CalledRule] = {}
    """Called number (E.164), SIP user or queue name to what it asks for."""
    ageing_s_per_point: float = 0.5
    priority_max: int = 60
    complaint_probability: float = 0.05
    """A complaint about an agent bars them where the candidates who made it reach this probability together."""
    continuity_s: float = 60.0
    """Whoever had the customer last counts as idle for so much longer, times the probability that it is that customer."""
    continuity_days: float = 30.0
    """How long ago that may have been."""
    directed_s: float = 60.0
    """How long a contact that somebody sent to an agent waits for that agent alone."""
    pick: Literal["best", "first_come"] = "best"
    """How an agent is picked among those who may: by what is expected of each pair, where a model has been trained, or by
    first come and longest idle alone."""
    explore: float = 0.0
    """Share of contacts for which the agent is drawn from the best few, so that what others would have done is learned."""
    recognise: bool = True
    """Whether a caller who is recognised is made known to the agent, and routed as who they are. False measures what that is
    worth, in an arm of a trial; whom it is never withheld from is in docs/trials.md."""
    guard_s: float = HOLDING.guard_s
    """How much longer than under first come a contact may wait, by its place in the queue."""
    hold_s: float = HOLDING.hold_s
    """How long a contact that comes may be held for a better agent although an eligible one is idle; 0: never. Nobody with
    priority is held, and no contact twice."""
    fairness: float = HOLDING.fairness
    """Points of success for each unit of occupancy by which an agent has more work than the mean."""
    promise_s: float = 20.0
    """Within this many seconds calls are promised to be answered..."""
    promise_share: float = 0.8
    """... this share of them."""
    success: tuple[str, ...] = ("resolved",)
    """Outcome codes that count as success where it is learned who fits, and in trials."""
    not_judged: tuple[str, ...] = ("no_outcome", "wrong_person")
    """Outcome codes that say nothing about it, as no code at all does. Every other code is no success."""
    fit_fields: tuple[str, ...] = ()
    """Further fields of customers' records by which it is learned who fits; protected ones are refused."""
    self_service: tuple[SelfService, ...] = ()
    """Automated treatments that stand in one order with the agents."""
    overflow: tuple[Overflow, ...] = ()
    """What happens where nobody may serve a contact, or the wait gets long."""
    impatience_s: float = 300.0
    """How long customers wait on average before they give up: what waiting for an agent is worth against self-service."""
    back_within_s: float = 86_400.0
    """Who is in contact again so soon after self-service was not served by it."""
    callback_over_s: float = 0.0
    """Callers are offered to be called back where the estimated wait is longer; 0: never."""
    announce_s: float = 10.0
    """A wait is announced anew at most this often..."""
    announce_change: float = 0.25
    """... and where the estimate has changed by this share since, or the place has."""

    @property
    def asks_around(self) -> bool:
        """Whether decisions need what is known of the moment (contact.Around)."""
        return bool(self.self_service) or any(tier.keep_free for tier in self.tiers.values())

    @property
    def version(self) -> str:
        """`routing-` and twelve hex digits of the SHA-256 of the content."""
        return "routing-" + hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()[:12]


def policy_from_file(path: Path) -> RoutingPolicy:
    """The policy of a file, the built-in one where there is none. Raises as `policy_from_toml`, naming the file, and
    BadInput file_unreadable."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return RoutingPolicy()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            "file_unreadable",
            f"The routing policy cannot be read ({type(error).__name__}).",
            where={"file": str(path)},
            hint="Write it as UTF-8 text that this program may read.",
        ) from error
    try:
        return policy_from_toml(text)
    except BadInput as error:
        error.where = {"file": str(path), **error.where}
        raise


def policy_from_toml(text: str) -> RoutingPolicy:
    """The policy in the table `[routing]` of a TOML text; defaults for what is not there.

    Raises as `routing_table` and `routing_policy`.
    """
    return routing_policy(routing_table(text))


def routing_table(text: str) -> dict[str, Any]:
    """The table `[routing]` of a TOML text, unchecked.

    Raises BadInput toml_invalid, field_unknown for anything beside it.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadInput("toml_invalid", f"Not valid TOML: {error}", hint="See toml.io for the syntax.") from error
    fields.known(document, ("routing",), "")  # what stands outside the table, or under a name misspelt, is not left unheard
    return fields.table(document.get("routing", {}), "routing", 100)


def routing_policy(raw: Mapping[str, Any], base: RoutingPolicy | None = None) -> RoutingPolicy:
    """The policy in a parsed `[routing]` table. base: what holds for keys that are not there; without it the built-in one.

    Raises BadInput with where.field: field_unknown, number_out_of_range, level_invalid, name_invalid, name_twice,
    language_invalid, table_expected, too_many_entries, rule_invalid, place_invalid, channel_unknown, expression_invalid
    (with line and column), and policy_inconsistent where a later step would ask for more than an earlier one.
    """
    policy = msgspec.structs.replace(base or RoutingPolicy(), **routing_values(raw))
    _check_order(policy)
    return policy


def routing_values(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a parsed `[routing]` table, each checked by itself. Raises as `routing_policy`, but not inconsistent."""
    fields.known(raw, RoutingPolicy.__struct_fields__, "routing")
    values: dict[str, Any] = {}
    for name, value in raw.items():
        where = f"routing.{name}"
        if name in ("language_level", "language_level_relaxed"):
            values[name] = fields.level(value, where)
        elif name == "priority_max":
            values[name] = fields.whole(value, where, 0, PRIORITY_MAX)
        elif name.endswith("_probability"):
            values[name] = fields.number(value, where, 0.0, 1.0)
        elif name == "ageing_s_per_point":
            values[name] = fields.number(value, where, 0.001, SECONDS_MAX)
        elif name == "promise_share" or name == "explore":
            values[name] = fields.number(value, where, 0.0, 1.0)
        elif name == "recognise":
            if not isinstance(value, bool):
                raise BadInput("flag_invalid", "Neither true nor false", where={"field": where})
            values[name] = value
        elif name == "pick":
            if value not in PICKS:
                raise BadInput(
                    "pick_unknown", "Not a way to pick", where={"field": where}, hint=f"One of: {', '.join(PICKS)}."
                )
            values[name] = value
        elif name in ("impatience_s", "back_within_s"):
            values[name] = fields.number(value, where, 1.0, 30 * 86_400.0)
        elif name == "announce_change":
            values[name] = fields.number(value, where, 0.01, 10.0)
        elif name == "fairness":
            values[name] = fields.number(value, where, 0.0, 100.0)
        elif name == "hold_s":
            values[name] = fields.number(value, where, 0.0, HOLD_S_MAX)
        elif name == "guard_s":
            values[name] = fields.number(value, where, 0.0, SECONDS_MAX)
        elif name == "continuity_days":
            values[name] = fields.number(value, where, 0.0, 3_650.0)
        elif name.endswith("_after_s") or name in _SECONDS:
            values[name] = fields.number(value, where, 0.0, SECONDS_MAX)
        else:
            values[name] = _TABLES[name](value, where)
    return values


def called_key(called: str) -> str:
    """The key under which a called address stands in the policy: user part of a SIP or tel URI, bare number or name.

    Spaces and the marks -.() are taken out of numbers; names are lower case. `sip:+44 20@x` and `+4420` are one key.
    """
    text = called.strip()
    scheme, colon, rest = text.partition(":")
    if colon and scheme.lower() in ("sip", "sips", "tel"):
        text = rest.partition(";")[0].partition("@")[0]
    digits = text.translate(_MARKS)
    if digits.isascii() and digits.removeprefix("+").isdecimal():
        return digits
    return text.lower()


_MARKS: Final = str.maketrans("", "", " -.()/\u00a0")


def _tiers(value: object, where: str) -> dict[str, TierRule]:
    rules: dict[str, TierRule] = {}
    for name, rule in fields.table(value, where, 50).items():
        tier = fields.slug(name, where)
        at = f"{where}.{tier}"
        entries = fields.table(rule, at, 20)
        fields.known(entries, TierRule.__struct_fields__, at)
        if tier in rules:
            raise BadInput("name_twice", "The same name stands there twice", where={"field": at})
        team = fields.slug(entries["team"], f"{at}.team") if "team" in entries else None
        rules[tier] = TierRule(
            priority=fields.whole(entries.get("priority", 0), f"{at}.priority", 0, PRIORITY_MAX),
            team=team,
            team_for_s=fields.number(
                entries.get("team_for_s", TEAM_FOR_S if team else 0.0), f"{at}.team_for_s", 0.0, SECONDS_MAX
            ),
            value=fields.number(entries.get("value", 1.0), f"{at}.value", 0.1, 10.0),
            keep_free=fields.whole(entries.get("keep_free", 0), f"{at}.keep_free", 0, KEEP_FREE_MAX),
            keep_free_for_s=fields.number(entries.get("keep_free_for_s", 20.0), f"{at}.keep_free_for_s", 0.0, SECONDS_MAX),
            keep_free_seen_s=fields.number(
                entries.get("keep_free_seen_s", 1_800.0), f"{at}.keep_free_seen_s", 0.0, 24 * SECONDS_MAX
            ),
            keep_free_line=fields.whole(entries.get("keep_free_line", 20), f"{at}.keep_free_line", 1, 1_000_000),
        )
    return rules


def _issues(value: object, where: str) -> dict[str, int]:
    points: dict[str, int] = {}
    for name, priority in fields.table(value, where, 50).items():
        kind = fields.slug(name, where)
        fields.put_once(points, kind, fields.whole(priority, f"{where}.{kind}", 0, PRIORITY_MAX), where)
    return points


def _intents(value: object, where: str) -> dict[str, dict[str, int]]:
    intents: dict[str, dict[str, int]] = {}
    for name, wanted in fields.table(value, where, ENTRIES_MAX).items():
        intent = fields.slug(name, where)
        if intent in intents:
            raise BadInput("name_twice", "The same name stands there twice", where={"field": f"{where}.{intent}"})
        intents[intent] = fields.skills(wanted, f"{where}.{intent}", 20)
    return intents


def _called(value: object, where: str) -> dict[str, CalledRule]:
    rules: dict[str, CalledRule] = {}
    for name, rule in fields.table(value, where, ENTRIES_MAX).items():
        key = called_key(name)
        at = f"{where}.{key[:64]}"
        if not key:
            raise BadInput("name_invalid", "Not a number or name", where={"field": at})
        if key in rules:
            raise BadInput("name_twice", "The same number stands there twice", where={"field": at})
        entries = fields.table(rule, at, 10)
        fields.known(entries, CalledRule.__struct_fields__, at)
        rules[key] = CalledRule(
            skills=fields.skills(entries.get("skills", {}), f"{at}.skills", 20),
            language=fields.language(entries["language"], f"{at}.language") if "language" in entries else None,
            priority=fields.whole(entries.get("priority", 0), f"{at}.priority", 0, PRIORITY_MAX),
            licences=_names(entries.get("licences", ()), f"{at}.licences"),
        )
    return rules


def _names(value: object, where: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(fields.slug(name, where) for name in fields.sequence(value, where, 20)))


def _licences(value: object, where: str) -> dict[str, tuple[str, ...]]:
    return {
        fields.slug(name, where): _names(names, f"{where}.{name[:64]}")
        for name, names in fields.table(value, where, ENTRIES_MAX).items()
    }


def _rules(value: object, where: str) -> tuple[Rule, ...]:
    return tuple(
        _rule(fields.table(raw, f"{where}[{number}]", 10), f"{where}[{number}]")
        for number, raw in enumerate(fields.sequence(value, where, RULES_MAX))
    )


def _rule(raw: dict[str, Any], at: str) -> Rule:
    fields.known(raw, Rule.__struct_fields__, at)
    when = raw.get("when", "true")
    conditions.on_contact(when, f"{at}.when")
    steps = tuple(
        _step(fields.table(step, f"{at}.steps[{number}]", 5), f"{at}.steps[{number}]")
        for number, step in enumerate(fields.sequence(raw.get("steps", ()), f"{at}.steps", STEPS_MAX))
    )
    if not steps:
        raise _rule_invalid(f"{at}.steps", 'Give at least one step, such as {agent = "agent.skills.billing >= 3"}.')
    for number, step in enumerate(steps[:-1]):
        if step.for_s is None:
            raise _rule_invalid(f"{at}.steps[{number}].for_s", "Only the last step may hold for good: say for how long.")
    conditions.on_agent(conditions.any_of([step.agent for step in steps]), f"{at}.steps")
    return Rule(
        name=fields.slug(raw.get("name"), f"{at}.name"),
        when=when,
        probability=fields.number(raw.get("probability", 0.5), f"{at}.probability", 0.0, 1.0),
        steps=steps,
    )


def _step(raw: dict[str, Any], at: str) -> RuleStep:
    fields.known(raw, RuleStep.__struct_fields__, at)
    agent = raw.get("agent", "")
    conditions.on_agent(agent, f"{at}.agent")
    for_s = raw.get("for_s")
    return RuleStep(agent=agent, for_s=None if for_s is None else fields.number(for_s, f"{at}.for_s", 0.001, SECONDS_MAX))


def _rule_invalid(field: str, hint: str) -> BadInput:
    return BadInput("rule_invalid", "A rule that cannot be followed", where={"field": field}, hint=hint)


def _codes(value: object, where: str) -> tuple[str, ...]:
    """Outcome codes."""
    return tuple(dict.fromkeys(fields.slug(code, where) for code in fields.sequence(value, where, 50)))


def _fit_fields(value: object, where: str) -> tuple[str, ...]:
    """Names of fields, none of them protected."""
    names = tuple(dict.fromkeys(fields.slug(name, where) for name in fields.sequence(value, where, 10)))
    refuse_protected(names, where)
    return names


_SECONDS: Final = frozenset(("continuity_s", "directed_s", "promise_s", "callback_over_s", "announce_s"))
_TABLES: Final = {
    "tiers": _tiers, "issues": _issues, "intents": _intents, "called": _called, "licences": _licences, "rules": _rules,
    "success": _codes, "not_judged": _codes, "fit_fields": _fit_fields, "self_service": self_services, "overflow": overflows,
}  # fmt: skip


def _check_order(policy: RoutingPolicy) -> None:
    """Relaxing steps only ever ask for less."""
    both = sorted({*policy.success} & {*policy.not_judged})
    if both:
        raise BadInput(
            "policy_inconsistent",
            "An outcome code cannot count as success and not be judged.",
            where={"field": "routing.not_judged", "code": both[0]},
        )
    twice = sorted({one.name for one in policy.self_service} & {one.name for one in policy.overflow})
    if twice:
        raise BadInput("name_twice", "The same name stands there twice", where={"field": f"routing.overflow.{twice[0]}"})
    for earlier, later in (
        ("language_level_relaxed", "language_level"),
        ("language_relaxed_after_s", "language_dropped_after_s"),
        ("skill_relaxed_after_s", "skill_dropped_after_s"),
    ):
        if getattr(policy, earlier) > getattr(policy, later):
            raise BadInput(
                "policy_inconsistent",
                f"{earlier} must not be greater than {later}",
                where={"field": f"routing.{earlier}"},
                hint="Requirements may only relax as a contact waits.",
            )
