"""YAML -> actions and what holds for all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, cast, get_args

from firstring import limits
from firstring.cel import BOOL, DOUBLE, DYN, INT, STRING, Program
from firstring.contact import Channel, Reason
from firstring.errors import BadInput
from firstring.journey.patterns.document import Marked
from firstring.nextbest.actions import (
    ALL_CHANNELS,
    PUSHED,
    Action,
    Cap,
    Catalogue,
    Content,
    Goal,
    Kind,
    Of,
    Policy,
    Trigger,
    Wanted,
    catalogue,
)
from firstring.nextbest.declared.fit import Applies, Recent
from firstring.nextbest.declared.values import Values, documents_in, plain_value
from firstring.nextbest.delivery import Route
from firstring.nextbest.hours import ALWAYS, ELSEWHERE, Hours, Span, is_zone
from firstring.nextbest.situation import TOUCH, VARIABLES
from firstring.nextbest.wording import is_used, unknown_words

KINDS: Final = get_args(Kind)
ROUTES: Final = get_args(Route)
_ACTION: Final = (
    "id", "title", "kind", "sells", "enabled", "personal", "fallback", "channels", "route", "trigger", "recent", "audience",
    "because", "chance", "base", "weight", "value", "cost", "lever", "context", "caps", "hours", "answered_on", "purpose",
    "text", "form", "content", "offers", "goal", "expires",
)  # fmt: skip
_CONTENT: Final = ("title", "text", "accept", "dismiss", "subject", "html", "url", "image")
_FORMS: Final = ("popup", "chat", "call_me", "callback", "answer")
_POLICY: Final = ("holdout", "explored", "timezone", "caps", "hours")
_VALUE_MAX: Final = 1e9
_WORDS_IN: Final = "Words in braces: name, refund, complaint, outage, issue, question, ask, touch, offer, price, offer_url."


@dataclass(frozen=True)
class Declared:
    """What a text declares. disabled: ids of actions that it switches off."""

    actions: list[Action] = field(default_factory=list)
    disabled: dict[str, tuple[str, int]] = field(default_factory=dict)
    policy: Policy | None = None
    policy_line: int = 0


def actions_in(text: str, file: str = "") -> Declared:
    """The actions of a YAML text: one a document, or under `actions`; and `policy`, what holds for all of them.

    Raises BadInput action_invalid (file, line, field) or expression_invalid (file, line, column), each with what to do.
    """
    found = Declared()
    policy: Policy | None = None
    policy_line = 0
    for document in documents_in(text, file):
        reader = _Reader(file)
        listed = [document]
        if isinstance(document.value, dict) and set(document.value) <= {"actions", "policy"}:
            if "policy" in document.value:
                if policy is not None:
                    raise reader.wrong(document.value["policy"], "There are two policies.", "Keep one.", "policy")
                policy, policy_line = reader.policy(document.value["policy"]), document.value["policy"].line
            listed = reader.listed(document.value["actions"], "actions") if "actions" in document.value else []
        for one in listed:
            made = reader.action(one)
            if made is None:
                found.disabled[reader.id_of(one)] = (file, one.line)
            else:
                found.actions.append(made)
    if not (found.actions or found.disabled or policy):
        raise Values(file).wrong(Marked("", 1), "There is no action here.", "Give id, kind and text.")
    return replace(found, policy=policy, policy_line=policy_line)


def together(texts: Sequence[tuple[str, str]], base: Catalogue | None = None) -> Catalogue:
    """A catalogue of (file, text)s: what they declare takes the place of actions of `base` with the same id.

    Raises BadInput as `actions_in`, and action_invalid where an id stands twice, or an action that is switched off does not
    exist.
    """
    policy = base.policy if base is not None else Policy()
    actions = dict(base.by_name) if base is not None else {}
    own: dict[str, tuple[str, int]] = {}
    policy_file = ""
    for file, text in texts:
        found = actions_in(text, file)
        for name, (where, line) in found.disabled.items():
            if name not in actions or name in own:
                message = f"{name} is switched off, but there is no such action in the library."
                raise _twice(message, where, line, "`firstring actions library` lists them.")
            del actions[name]
        for action in found.actions:
            if action.name in own:
                first_file, first_line = own[action.name]
                hint = f"The other one is in {first_file or 'the text'}, line {first_line}. Give it another id."
                raise _twice(f"{action.name} stands twice.", file, action.line, hint)
            own[action.name] = (file, action.line)
            actions[action.name] = action
        if found.policy is not None:
            if policy_file:
                raise _twice("There are two policies.", file, found.policy_line, f"The other one is in {policy_file}.")
            policy, policy_file = found.policy, file or "the text"
    if len(actions) > limits.ACTIONS:
        raise _twice(f"There are more than {limits.ACTIONS} actions.", texts[-1][0], 1, "Remove some.")
    return catalogue(tuple(actions.values()), policy)


def _twice(message: str, file: str, line: int, hint: str) -> BadInput:
    return BadInput("action_invalid", message, where={"file": file, "line": line, "field": "id"}, hint=hint)


class _Reader(Values):
    """Reads the documents of one file."""

    def id_of(self, marked: Marked) -> str:
        return self.name(marked.value["id"], "id")

    def action(self, marked: Marked) -> Action | None:
        """One action; None where it is switched off."""
        of = self.fields(marked, _ACTION, "An action")
        if "id" not in of:
            raise self.wrong(marked, "The action has no id.", "Add id: cart_reminder.", "id")
        name = self.name(of["id"], "id")
        if "enabled" in of and not self.yes(of["enabled"], "enabled"):
            return None
        if "kind" not in of:
            raise self.wrong(marked, f"{name} has no kind.", f"Add kind, one of: {', '.join(KINDS)}.", "kind")
        kind = cast(Kind, self.choice(of["kind"], "kind", KINDS))
        route = cast(Route, self.choice(of["route"], "route", ROUTES)) if "route" in of else "desk"
        recent = self._recent(of["recent"]) if "recent" in of else None
        trigger = self._trigger(of["trigger"]) if "trigger" in of else Trigger()
        content = self._content(of["content"]) if "content" in of else Content()
        applies = self._applies(of, name, recent)
        action = Action(
            name=name,
            kind=kind,
            text=self._worded(of["text"], "text", recent) if "text" in of else "",
            applies=applies,
            asks=applies.asks,
            value=self._number(of, "value", 0.0, _VALUE_MAX),
            cost=self._number(of, "cost", 0.0, _VALUE_MAX),
            lever=self._number(of, "lever", 0.0, 1_000.0, 1.0),
            channels=self.choices(of["channels"], "channels", get_args(Channel)) if "channels" in of else ALL_CHANNELS,
            personal="personal" not in of or self.yes(of["personal"], "personal"),
            sells="sells" in of and self.yes(of["sells"], "sells"),
            fallback="fallback" in of and self.yes(of["fallback"], "fallback"),
            route=route,
            trigger=trigger,
            answered_on=self.choice(of["answered_on"], "answered_on", get_args(Channel)) if "answered_on" in of else "",
            purpose=self.name(of["purpose"], "purpose") if "purpose" in of else "",
            base=self._number(of, "base", 0.0, 1.0),
            caps=tuple(self._cap(one) for one in self._list(of, "caps")),
            hours=self._hours(of["hours"]) if "hours" in of else ALWAYS,
            content=content,
            form=self.choice(of["form"], "form", _FORMS) if "form" in of else "popup",
            offers=self._offers(of["offers"]) if "offers" in of else None,
            goal=self._goal(of["goal"]) if "goal" in of else None,
            expires_ms=self.duration(of["expires"], "expires") if "expires" in of else 30 * 60_000,
            title=self.text(of["title"], "title") if "title" in of else name,
            digest=hashlib.sha256(str(plain_value(marked)).encode()).hexdigest()[:16],
            file=self.file,
            line=marked.line,
        )
        self._goes_together(marked, of, action)
        return action

    def _goes_together(self, marked: Marked, of: dict[str, Marked], action: Action) -> None:
        """What no single field shows."""
        if action.route == "desk" and not action.text:
            raise self.wrong(marked, f"{action.name} has no text for the agent.", "Add text: ...", "text")
        if action.route != "desk" and not action.content.languages:
            hint = "Add content: {en: {text: ...}}."
            raise self.wrong(marked, f"{action.name} has nothing that the customer would read.", hint, "content")
        texts = [text for of_language in action.content.languages.values() for text in of_language.values()]
        needs_touch = is_used("touch", [*texts, action.text])
        if needs_touch and "recent" not in of:
            hint = "Add recent: {any: [Product Viewed], within: 7d}."
            raise self.wrong(marked, "{touch} is the event that `recent` finds, and there is no recent.", hint, "recent")
        needs_offer = any(is_used(word, texts) for word in ("offer", "price", "offer_url"))
        if needs_offer and action.offers is None:
            raise self.wrong(marked, "{offer} needs offers.", "Add offers: {most: 1}.", "offers")
        if action.is_sale and action.route in PUSHED and not action.caps:
            hint = "Add caps: [{most: 1, per: 7d}]."
            message = f"{action.name} sells over {action.route} without any cap: it could go out without end."
            raise self.wrong(marked, message, hint, "caps")
        if action.kind in ("safety", "verification") and action.sells:
            raise self.wrong(of["sells"], f"An action of kind {action.kind} sells nothing.", "Remove sells.", "sells")
        if action.fallback and action.is_sale:
            raise self.wrong(of["fallback"], "A sale is no fallback.", "Remove fallback.", "fallback")

    # --- when ----------------------------------------------------------------------------------------------------

    def _trigger(self, marked: Marked) -> Trigger:
        of = self.fields(marked, ("contact", "patterns", "after"), "A trigger")
        contact = self.yes(of["contact"], "contact") if "contact" in of else "patterns" not in of
        patterns = frozenset(self.name(one, "patterns") for one in self._list(of, "patterns"))
        after_ms = self.duration(of["after"], "after") if "after" in of else 0
        if after_ms and not patterns:
            raise self.wrong(of["after"], "`after` counts from a pattern, and there is none.", "Add patterns.", "after")
        return Trigger(contact, patterns, after_ms)

    def _recent(self, marked: Marked) -> Recent:
        of = self.fields(marked, ("any", "within", "unless"), "recent")
        for name in ("any", "within"):
            if name not in of:
                raise self.wrong(marked, f"recent has no {name}.", "Write {any: [Product Viewed], within: 7d}.", name)
        unless = self.events(of["unless"], "unless") if "unless" in of else frozenset()
        return Recent(self.events(of["any"], "any"), self.duration(of["within"], "within") / 1_000.0, unless)

    def _applies(self, of: dict[str, Marked], name: str, recent: Recent | None) -> Applies:
        variables = {**VARIABLES, "touch": TOUCH} if recent is not None else VARIABLES

        def program(field_: str, low: float, high: float) -> tuple[Program | None, float | None]:
            """(the expression, None) or (None, the number)."""
            if field_ not in of:
                return None, None
            marked = of[field_]
            if _is_number(marked.value):
                return None, self.number(marked, field_, low, high)
            return self.expression(marked, field_, variables, (DOUBLE, INT, DYN)), None

        chance, chance_number = program("chance", 0.0, 1.0)
        weight, weight_number = program("weight", 0.0, 1_000.0)
        value, _ = program("value", 0.0, _VALUE_MAX)
        audience = self.expression(of["audience"], "audience", variables, BOOL) if "audience" in of else None
        context = self.expression(of["context"], "context", variables, STRING) if "context" in of else None
        because = Reason(name, self.text(of["title"], "title") if "title" in of else name)
        if "because" in of:
            said = self.fields(of["because"], ("code", "text"), "because")
            if "code" not in said or "text" not in said:
                raise self.wrong(of["because"], "because has a code and a text.", "Write {code: ..., text: ...}.", "because")
            because = Reason(self.name(said["code"], "code"), self._worded(said["text"], "text", recent))
        return Applies(
            audience, recent, chance, 1.0 if chance_number is None else chance_number,
            weight, 1.0 if weight_number is None else weight_number, value, context, because,
        )  # fmt: skip

    # --- how often, when -----------------------------------------------------------------------------------------

    def _cap(self, marked: Marked, known: tuple[str, ...] = ("most", "per", "of")) -> Cap:
        of = self.fields(marked, known, "A cap")
        for name in ("most", "per"):
            if name not in of:
                raise self.wrong(marked, f"The cap has no {name}.", "Write {most: 1, per: 24h}.", name)
        scope = cast(Of, self.choice(of["of"], "of", get_args(Of))) if "of" in of else "action"
        return Cap(self.whole(of["most"], "most", 1, 1_000_000), self.duration(of["per"], "per"), scope)

    def _hours(self, marked: Marked) -> Hours:
        of = self.fields(marked, ("quiet", "open"), "hours")
        quiet = self.spans(of["quiet"], "quiet") if "quiet" in of else ()
        allowed: dict[str, tuple[Span, ...]] = {}
        if "open" in of:
            by_country = of["open"].value
            if not isinstance(by_country, dict):
                by_country = {ELSEWHERE: of["open"]}
            for country, spans in by_country.items():
                if country != ELSEWHERE and not (len(country) == 2 and country.isascii() and country.isupper()):
                    hint = 'Write open: {DE: "mon-sat 09:00-20:00", "*": "09:00-20:00"}.'
                    raise self.wrong(spans, f"{country[:16]} is no country's code of two letters.", hint, "open")
                allowed[country] = self.spans(spans, "open")
        return Hours(quiet, tuple(sorted(allowed.items())))

    def policy(self, marked: Marked) -> Policy:
        """What holds for all actions."""
        of = self.fields(marked, _POLICY, "A policy")
        default = Policy()
        zone = self.text(of["timezone"], "timezone") if "timezone" in of else default.zone
        if not is_zone(zone):
            raise self.wrong(of["timezone"], f"There is no time zone {zone[:64]}.", "Write Europe/Berlin.", "timezone")
        caps = []
        for one in self._list(of, "caps"):
            cap = self._cap(one, ("most", "per", "of", "kinds", "routes"))
            inner = one.value
            kinds = self.choices(inner["kinds"], "kinds", KINDS) if "kinds" in inner else frozenset()
            routes = self.choices(inner["routes"], "routes", ROUTES) if "routes" in inner else frozenset()
            caps.append((kinds, routes, cap))
        hours: dict[str, Hours] = {}
        if "hours" in of:
            hours = {route: self._hours(one) for route, one in self.fields(of["hours"], ROUTES, "hours").items()}
        return Policy(
            holdout=self._number(of, "holdout", 0.0, 0.5, default.holdout),
            explored=self.whole(of["explored"], "explored", 1, 10) if "explored" in of else default.explored,
            zone=zone,
            caps=tuple(caps),
            hours=hours,
            digest=hashlib.sha256(str(plain_value(marked)).encode()).hexdigest()[:16],
        )

    # --- what they get -------------------------------------------------------------------------------------------

    def _content(self, marked: Marked) -> Content:
        if not isinstance(marked.value, dict) or not marked.value:
            raise self.wrong(marked, "content has languages.", "Write content: {en: {text: ...}}.", "content")
        fallback = ""
        languages: dict[str, dict[str, str]] = {}
        for language, texts in marked.value.items():
            if language == "fallback":
                fallback = self.text(texts, "fallback").lower()
                continue
            if not (2 <= len(language) <= 8 and language.replace("-", "").isalpha() and language.isascii()):
                hint = "Write a code such as en, de or pt-br."
                raise self.wrong(texts, f"{language[:16]} is no language.", hint, "content")
            of = self.fields(texts, _CONTENT, "A language's content")
            if "text" not in of:
                raise self.wrong(texts, f"The content in {language} has no text.", "Add text: ...", "text")
            languages[language.lower()] = {name: self._worded(one, name, None) for name, one in of.items()}
        fallback = fallback or next(iter(languages), "")
        if fallback not in languages:
            hint = f"Write fallback: {next(iter(languages), 'en')}."
            raise self.wrong(marked, f"There are no texts in {fallback[:16]}, the fallback.", hint, "fallback")
        for language, texts_of in languages.items():
            missing = languages[fallback].keys() - texts_of.keys()
            if missing:
                message = f"The content in {language} has no {min(missing)}, which {fallback} has."
                raise self.wrong(marked.value.get(language, marked), message, f"Add {min(missing)}.", min(missing))
        return Content(languages, fallback)

    def _worded(self, marked: Marked, name: str, recent: Recent | None) -> str:
        text = self.text(marked, name)
        for word in unknown_words(text):
            hint = f"{_WORDS_IN} A guess why they are in touch: {{reason.delivery}}."
            raise self.wrong(marked, f"{{{word[:32]}}} is no word that a text can have.", hint, name)
        return text

    def _offers(self, marked: Marked) -> Wanted:
        of = self.fields(marked, ("most", "category"), "offers")
        most = self.whole(of["most"], "most", 1, limits.OFFERS_SHOWN) if "most" in of else 1
        return Wanted(most, self.text(of["category"], "category") if "category" in of else "")

    def _goal(self, marked: Marked) -> Goal:
        of = self.fields(marked, ("any", "within"), "goal")
        if set(of) != {"any", "within"}:
            raise self.wrong(marked, "goal has any and within.", "Write {any: [Order Completed], within: 7d}.", "goal")
        return Goal(self.events(of["any"], "any"), self.duration(of["within"], "within"))

    def _list(self, of: dict[str, Marked], name: str) -> list[Marked]:
        return self.listed(of[name], name) if name in of else []

    def _number(self, of: dict[str, Marked], name: str, low: float, high: float, default: float = 0.0) -> float:
        """A number; an expression, where one may stand, is read elsewhere."""
        if name not in of or (name == "value" and not _is_number(of[name].value)):
            return default
        return self.number(of[name], name, low, high)


def _is_number(value: object) -> bool:
    if not isinstance(value, str):
        return True  # a list or mapping: refused as no number
    try:
        float(value)
    except ValueError:
        return False
    return True
