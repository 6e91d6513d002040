"""Actions in YAML: every mistake has its file, line and field; what is declared is what is chosen by."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from firstring.contact import Assurance, Candidate, Journey, NextAction, Resolution, StepUp, Touch
from firstring.errors import BadInput
from firstring.nextbest.arbitrate import NONE, choose
from firstring.nextbest.declared import actions_in, together
from firstring.nextbest.library import BUILT_IN, library, sources
from firstring.nextbest.moment import Before, Moment, Shown

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
WHO = Resolution((Candidate(1, 1.0, profile={"given_name": "Ann"}),), 0.0, 0.0, "prior", "test")
SURE = (Assurance(1, 0.0, "prior", "routine", StepUp("none", ""), "test"),)
MAIL = """
id: mail
kind: offer
route: email
trigger: {patterns: [p]}
chance: 0.2
value: 50
cost: 0.1
caps: [{most: 1, per: 7d}]
content: {en: {text: "Hello{name}"}}
"""


def decide(text: str, *touches: Touch, base: Any = None, **moment: Any) -> NextAction:
    given: dict[str, Any] = {"consents": {"marketing/email": True}, "routes": ("desk", "email", "web"), "zones": ("UTC",)}
    made = Moment(cause="pattern", fired="p", **{"fired_at": NOW, **given, **moment})
    actions = together([("a.yaml", text)], base)
    return choose((Journey(1, touches),), WHO, SURE, channel="web", now=NOW, actions=actions, moment=made)


def gates(text: str, **moment: Any) -> list[str]:
    return [reason.code for one in decide(text, **moment).considered for reason in one.gated_by]


@pytest.mark.parametrize(
    ("text", "line", "field", "says"),
    [
        ("", 1, None, "no action"),
        ("id: [", 1, None, "not YAML"),
        ("id: a b\nkind: offer", 1, "id", "letters, digits"),
        ("kind: offer\ntext: x", 1, "id", "no id"),
        ("id: a\ntext: x", 1, "kind", "no kind"),
        ("id: a\nkind: ofer\ntext: x", 2, "kind", "cannot be ofer"),
        ("id: a\nkind: offer\ntext: x\nchanel: web", 4, "chanel", "Did you mean channels"),
        ("id: a\nkind: offer", 1, "text", "no text for the agent"),
        ("id: a\nkind: service\nroute: web", 1, "content", "nothing that the customer"),
        ("id: a\nkind: service\ntext: 'x {nmae}'", 3, "text", "{nmae} is no word"),
        ("id: a\nkind: service\ntext: 'x {'", 3, "text", "is no word"),
        ("id: a\nkind: service\ntext: 'x {touch}'", 1, "recent", "there is no recent"),
        ("id: a\nkind: service\ntext: x\nchance: 2", 4, "chance", "from 0 to 1"),
        ("id: a\nkind: service\ntext: x\naudience: traits.value >", 4, "audience", ""),
        ("id: a\nkind: service\ntext: x\naudience: contact.chanel == 'web'", 4, "audience", "chanel"),
        ("id: a\nkind: service\ntext: x\naudience: touch.name == 'a'", 4, "audience", "touch"),
        ("id: a\nkind: service\ntext: x\ncaps: [{most: 0, per: 1d}]", 4, "most", "whole number"),
        ("id: a\nkind: service\ntext: x\ncaps: [{most: 1}]", 4, "per", "no per"),
        ("id: a\nkind: service\ntext: x\ncaps: [{most: 1, per: 3y}]", 4, "per", "a time of"),
        ("id: a\nkind: service\ntext: x\nhours: {quiet: 9 to 5}", 4, "quiet", "span of hours"),
        ("id: a\nkind: service\ntext: x\nhours: {quiet: '25:00-08:00'}", 4, "quiet", "span of hours"),
        ("id: a\nkind: service\ntext: x\nhours: {open: {Germany: '09:00-20:00'}}", 4, "open", "no country"),
        ("id: a\nkind: service\ntext: x\ntrigger: {after: 1h}", 4, "after", "counts from a pattern"),
        ("id: a\nkind: service\ntext: x\nroute: fax", 4, "route", "cannot be fax"),
        ("id: a\nkind: safety\nsells: true\ntext: x", 3, "sells", "sells nothing"),
        ("id: a\nkind: offer\nfallback: true\ntext: x", 3, "fallback", "no fallback"),
        (MAIL.replace("caps: [{most: 1, per: 7d}]\n", ""), 2, "caps", "without end"),
        (MAIL.replace("{name}", "{offer}"), 2, "offers", "needs offers"),
        (MAIL.replace("en:", "english language:"), 10, "content", "no language"),
        (MAIL.replace("{en: ", "{fallback: fr, en: "), 10, "fallback", "no texts in fr"),
        (MAIL.replace("{en: {", "{de: {text: a, title: b}, en: {"), 10, "title", "no title, which de has"),
        ("policy: {timezone: Berlin}", 1, "timezone", "no time zone"),
        ("policy: {holdout: 0.9}", 1, "holdout", "from 0 to 0.5"),
        ("policy: {holdout: 0}\n---\npolicy: {holdout: 0}", 3, "policy", "two policies"),
        ("goal: {any: [a]}\nid: a\nkind: offer\ntext: x", 1, "goal", "any and within"),
    ],
)
def test_mistakes_have_their_place(text: str, line: int, field: str | None, says: str) -> None:
    with pytest.raises(BadInput) as caught:
        actions_in(text, "a.yaml")
    assert caught.value.code in ("action_invalid", "expression_invalid")
    assert caught.value.where["file"] == "a.yaml"
    assert caught.value.where["line"] == line
    assert caught.value.where.get("field") == field
    assert says in str(caught.value)


def test_ids_and_switching_off() -> None:
    with pytest.raises(BadInput, match="stands twice"):
        together([("a.yaml", MAIL), ("b.yaml", MAIL)])
    with pytest.raises(BadInput, match="no such action in the library"):
        together([("a.yaml", "{id: nothing, enabled: false}")], BUILT_IN)
    less = together([("a.yaml", "{id: greet, enabled: false}")], BUILT_IN)
    assert "greet" not in less.by_name
    other = together([("a.yaml", "{id: greet, kind: service, text: Hello, fallback: true}")], BUILT_IN)
    assert other.by_name["greet"].text == "Hello"
    assert len({BUILT_IN.version, less.version, other.version}) == 3


def test_the_version_is_of_the_content() -> None:
    assert together([("a.yaml", MAIL)]).version == together([("b.yaml", "\n# a note\n" + MAIL)]).version
    assert together([("a.yaml", MAIL)]).version != together([("a.yaml", MAIL.replace("0.2", "0.21"))]).version
    assert together([("a.yaml", MAIL)]).version != together([("a.yaml", MAIL + "---\npolicy: {holdout: 0.1}")]).version


def test_the_library_goes_together() -> None:
    contact, journey = library("contact"), library("journey")
    assert contact == BUILT_IN
    assert all(action.trigger.patterns for action in journey.actions)
    for part in ("contact", "journey"):
        for name, text in sources(part):  # type: ignore[arg-type]
            assert [one.name for one in actions_in(text).actions] == [name]
    together([(name, text) for name, text in sources("journey")], BUILT_IN)


def test_gates_of_what_goes_out() -> None:
    assert gates(MAIL) == []
    assert gates(MAIL, consents={}) == ["consent_unknown"]
    assert gates(MAIL, consents={"marketing": True}) == []
    assert gates(MAIL, consents={"marketing": True, "marketing/email": False}) == ["consent_withdrawn"]
    assert gates(MAIL, routes=("desk",)) == ["route_unavailable"]
    assert gates(MAIL, held_out=True) == ["held_out"]
    assert gates(MAIL.replace("value: 50", "value: 0.4")) == ["not_worth_it"]
    assert gates(MAIL + "base: 0.199") == ["not_worth_it"]
    assert gates(MAIL + "answered_on: chat") == ["no_agent"]
    assert gates(MAIL + "answered_on: chat", agents={"chat": 1}) == []
    assert gates(MAIL + "offers: {most: 2}") == ["no_offer"]
    assert gates(MAIL + "offers: {most: 2, category: tea}", offers=(Shown("1", "Mug"),)) == ["no_offer"]
    assert gates(MAIL + "expires: 5m", fired_at=NOW - timedelta(minutes=6)) == ["expired"]
    assert gates(MAIL + "audience: traits.value > 10.0") == ["not_applicable"], "an error is not true"
    assert gates(MAIL + "audience: traits.value > 10.0", traits={"value": 11.0}) == []


def test_service_and_safety_are_not_withheld() -> None:
    service = MAIL.replace("kind: offer", "kind: service")
    assert gates(service, consents={}, held_out=True) == []
    assert gates(service.replace("value: 50", "value: 0")) == []
    assert gates(service, consents={"service/email": False}) == ["consent_withdrawn"]
    before = tuple(Before("mail", "email", "safety", NOW) for _ in range(9))
    safety = MAIL.replace("kind: offer", "kind: safety") + 'hours: {quiet: "00:00-24:00"}'
    assert gates(safety, consents={"service/email": False}, before=before, held_out=True) == []


@pytest.mark.parametrize(
    ("cap", "code"),
    [
        ("{most: 2, per: 1d}", "cap_action"),
        ("{most: 3, per: 1d, of: route}", "cap_route"),
        ("{most: 3, per: 1d, of: kind}", "cap_kind"),
        ("{most: 5, per: 1h, of: everyone}", "cap_everyone"),
    ],
)
def test_caps(cap: str, code: str) -> None:
    text = MAIL.replace("{most: 1, per: 7d}", cap)
    full = (
        Before("mail", "email", "offer", NOW - timedelta(hours=23)),
        Before("mail", "email", "offer", NOW - timedelta(hours=2)),
        Before("other", "email", "offer", NOW - timedelta(hours=1)),
    )
    assert gates(text, before=full, everyone={"mail": (5,)}) == [code]
    old = tuple(Before(one.action, one.route, one.kind, one.at - timedelta(hours=2)) for one in full)
    assert gates(text, before=old, everyone={"mail": (4,)}) == []
    policy = MAIL.replace("{most: 1, per: 7d}", "{most: 99, per: 7d}")
    rule = cap.replace("{", "{kinds: [offer], routes: email, ")
    both = f"{policy}---\npolicy: {{caps: [{rule}]}}"
    assert gates(both, before=full, everyone={"mail": (5,)}) == [code]
    assert gates(both.replace("routes: email", "routes: sms"), before=full, everyone={"mail": (5,)}) == []


def test_words_and_the_event_it_is_about() -> None:
    touch = Touch(5, "web", "Product Viewed", NOW - timedelta(hours=2), "Product viewed, tea", 1)
    text = """
id: look
kind: service
text: "Ask{name} about {touch}"
trigger: {patterns: [p]}
recent: {any: [product_viewed], within: 1d, unless: [Order Completed]}
chance: "touch.ago < duration('3h') ? 0.5 : 0.1"
because: {code: looked, text: "{touch}"}
"""
    got = decide(text, touch)
    assert (got.text, got.reasons[0].text) == ("Ask Ann about Product viewed, tea", "Product viewed, tea")
    assert got.considered[0].factors is not None
    assert got.considered[0].factors.chance == 0.5
    bought = Touch(6, "web", "Order Completed", NOW - timedelta(hours=1), "Order completed", 1)
    none = decide(text, bought, touch)
    assert none.action == NONE
    assert none.considered[0].gated_by[0].text == "No Product Viewed in the last 24 hours, or Order Completed since."


def test_only_what_waits_is_considered() -> None:
    later = MAIL.replace("id: mail", "id: later").replace("[p]}", "[p], after: 2h}")
    other = MAIL.replace("id: mail", "id: other").replace("[p]", "[q]")
    text = "---".join((MAIL, later, other))
    assert [one.action for one in decide(text).considered] == ["mail"]
    assert [one.action for one in decide(text, after_ms=7_200_000).considered] == ["later"]
    assert [one.action for one in decide(text, asked="other").considered] == ["other"]
