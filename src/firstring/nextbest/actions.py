"""The catalogue of actions: what may be proposed, when it applies, what it is worth.

`BUILT_IN` is a small catalogue; any other is made by `catalogue`. An action says by `applies` how probable it is that
it helps now (P) and why. Values and costs are in one unit of money; the priors are assumptions, named here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from firstring.contact import Reason
from firstring.nextbest.situation import NO_STEP_UP, Situation

Kind = Literal["service", "safety", "self_service", "verification", "offer"]

ALL_CHANNELS: Final = frozenset(("voice", "chat", "email", "web", "messaging", "social", "mobile"))
WRITTEN_CHANNELS: Final = ALL_CHANNELS - {"voice"}

_H: Final = 3_600.0
_D: Final = 24 * _H


class Fit(NamedTuple):
    """How probable it is that an action helps now, in [0, 1] (0: it does not apply), and why."""

    probability: float
    reason: Reason


@dataclass(frozen=True, slots=True)
class Action:
    """One action that may be proposed.

    name: stable, unique in a catalogue. text: for the agent; may use the words of `situation.words`. value, cost:
    money. lever: a weight set by the business (L). personal: about one person, so it needs an identified one.
    sells: a sale though not of kind offer (an abandoned cart); every offer sells. fallback: proposed only when
    nothing else is.
    """

    name: str
    kind: Kind
    text: str
    applies: Callable[[Situation], Fit]
    value: float = 0.0
    cost: float = 0.0
    lever: float = 1.0
    channels: frozenset[str] = ALL_CHANNELS
    personal: bool = True
    sells: bool = False
    fallback: bool = False

    @property
    def is_sale(self) -> bool:
        return self.sells or self.kind == "offer"

    def score(self, fit: Fit) -> float:
        """P x C x V x L; the context weight C is 1 until contexts are weighed."""
        return fit.probability * self.value * self.lever


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Actions in a stable order (by name), and a version out of their content."""

    actions: tuple[Action, ...]
    version: str


def catalogue(actions: Sequence[Action]) -> Catalogue:
    """A catalogue of these actions; its version depends on their content, not on their order.

    Raises ValueError when two have the same name.
    """
    ordered = tuple(sorted(actions, key=lambda action: action.name))
    if len({action.name for action in ordered}) != len(ordered):
        raise ValueError("two actions of a catalogue have the same name")
    content = [
        (a.name, a.kind, a.text, a.value, a.cost, a.lever, sorted(a.channels), a.personal, a.sells, a.fallback)
        for a in ordered
    ]
    return Catalogue(ordered, "actions-" + hashlib.sha256(repr(content).encode()).hexdigest()[:12])


# --- when they apply ---------------------------------------------------------------------------------------------


def _settle(kind: str) -> Callable[[Situation], Fit]:
    absent = Fit(0.0, Reason("not_applicable", f"no open {kind}"))

    def applies(at: Situation) -> Fit:
        issue = at.issue(kind)
        if issue is None:
            return absent
        return Fit(1.0, Reason(f"open_{kind}", issue.summary or f"open {kind}"))

    return applies


_NO_UNLISTED: Final = Fit(0.0, Reason("not_applicable", "all issues are listed"))


def _review_issues(at: Situation) -> Fit:
    issue = at.issue("issue")
    return _NO_UNLISTED if issue is None else Fit(1.0, Reason("open_issue", issue.summary))


_UNFINISHED: Final = frozenset(("Cart Abandoned", "Checkout Started", "Payment Failed"))
_FINISHED: Final = frozenset(("Order Completed",))
_NOTHING_UNFINISHED: Final = Fit(0.0, Reason("not_applicable", "no order left unfinished in the last 24 hours"))


def _finish_order(at: Situation) -> Fit:
    touch = at.touch(_UNFINISHED, _D)
    if touch is None:
        return _NOTHING_UNFINISHED
    done = at.touch(_FINISHED, _D)
    if done is not None and done.occurred_at >= touch.occurred_at:
        return _NOTHING_UNFINISHED
    return Fit(0.6 if touch.name == "Payment Failed" else 0.3, Reason("order_unfinished", touch.summary))


_NO_ORDER_UNDER_WAY: Final = Fit(0.0, Reason("not_applicable", "no order under way"))


def _order_status(at: Situation) -> Fit:
    reason = at.reason("delivery") or at.reason("order")
    return _NO_ORDER_UNDER_WAY if reason is None else Fit(reason.probability, Reason("order_under_way", reason.text))


_NO_DELIVERY: Final = Fit(0.0, Reason("not_applicable", "they are probably not calling about a delivery"))
PROBABLY: Final = 0.5
"""From this probability on, what somebody is probably calling about comes before any sale."""


def _explain_delivery(at: Situation) -> Fit:
    reason = at.reason("delivery")
    if reason is None or reason.probability < PROBABLY:
        return _NO_DELIVERY
    return Fit(reason.probability, Reason("probably_delivery", reason.text))


_NO_STEP_UP_ASKED: Final = Fit(0.0, Reason("not_applicable", "no verification is asked for"))


def _step_up(at: Situation) -> Fit:
    if at.assurance is None or at.assurance.ask.method == NO_STEP_UP:
        return _NO_STEP_UP_ASKED
    return Fit(1.0, Reason("step_up", at.assurance.ask.text))


_ONE_PERSON: Final = Fit(0.0, Reason("not_applicable", "it is known who this is"))
_NO_CANDIDATE: Final = Fit(0.0, Reason("not_applicable", "nobody on file comes into question"))
_SEVERAL: Final = Fit(1.0, Reason("ambiguous", "it is not sure enough who this is"))


def _confirm_identity(at: Situation) -> Fit:
    if at.person is not None:
        return _ONE_PERSON
    return _SEVERAL if at.resolution.candidates else _NO_CANDIDATE


_GREET: Final = Fit(0.1, Reason("nothing_pressing", "nothing else applies"))


def _greet(_: Situation) -> Fit:
    return _GREET


_ORDERED: Final = frozenset(("Order Completed", "Order Delivered", "Order Shipped"))
_LOOKED_AT: Final = frozenset(("Product Viewed", "Product Added", "Cart Abandoned"))
_NO_ORDER: Final = Fit(0.0, Reason("not_applicable", "no order in the last 30 days"))
_NOT_LOOKED: Final = Fit(0.0, Reason("not_applicable", "no product looked at in the last 7 days"))
_UNKNOWN_PERSON: Final = Fit(0.0, Reason("not_applicable", "nobody is identified"))
_KNOWN_PERSON: Final = Fit(0.04, Reason("known_customer", "a known customer"))


def _extended_warranty(at: Situation) -> Fit:
    touch = at.touch(_ORDERED, 30 * _D)
    return _NO_ORDER if touch is None else Fit(0.08, Reason("recent_order", touch.summary))


def _viewed_product(at: Situation) -> Fit:
    touch = at.touch(_LOOKED_AT, 7 * _D)
    return _NOT_LOOKED if touch is None else Fit(0.10, Reason("recent_interest", touch.summary))


def _upgrade(at: Situation) -> Fit:
    return _UNKNOWN_PERSON if at.person is None else _KNOWN_PERSON


BUILT_IN: Final = catalogue(
    (
        Action("confirm_identity", "verification", "{question}", _confirm_identity, 60.0, 1.0, personal=False),
        Action("step_up", "verification", "{ask}", _step_up, 50.0, 2.0, personal=False),
        Action("settle_refund", "service", "Settle the open refund{refund}", _settle("refund"), 80.0, 5.0),
        Action("settle_complaint", "service", "Settle the open complaint{complaint}", _settle("complaint"), 90.0, 5.0),
        Action("explain_outage", "service", "Explain the outage{outage}", _settle("outage"), 70.0, 2.0),
        Action("review_issues", "service", "Look at all open issues first", _review_issues, 60.0, 5.0),
        Action(
            "explain_delivery",
            "service",
            "Say where the delivery is",
            _explain_delivery,
            30.0,
            1.0,
            channels=ALL_CHANNELS - WRITTEN_CHANNELS,
        ),
        Action("finish_order", "service", "Help to finish the order", _finish_order, 40.0, 3.0, sells=True),
        Action("greet", "service", "Greet{name} and ask what it is about", _greet, 1.0, personal=False, fallback=True),
        Action(
            "order_status",
            "self_service",
            "Show where the order is",
            _order_status,
            20.0,
            0.5,
            channels=WRITTEN_CHANNELS,
        ),
        Action("offer_viewed_product", "offer", "Offer what they looked at", _viewed_product, 60.0, 2.0),
        Action("offer_extended_warranty", "offer", "Offer an extended warranty", _extended_warranty, 50.0, 2.0),
        Action("offer_upgrade", "offer", "Offer an upgrade", _upgrade, 90.0, 2.0),
    )
)
