"""The visits to the shop's web site, and what each of them is there to show."""

from __future__ import annotations

import secrets
from typing import Final

from firstring.demo.account import IDENTIFY_THRESHOLD, name
from firstring.demo.props import Props
from firstring.demo.website import Happened, ShownAction, failing_payment
from firstring.journey.patterns.library import library
from firstring.nextbest.decided import Decided

PAYMENT: Final = "cart_payment_error"
HELP: Final = "payment_help_chat"
SALE: Final = "pay_in_parts"
"""The sale that waits for the same pattern (data/actions.yaml)."""
AGAIN: Final = "repeat_contact"
CALL: Final = "call_me_now"
_ALICE: Final = {"firstName": "Alice", "lastName": "Novak"}
_ORDER: Final = {"order_id": "1090", "total": 189.0, "currency": "USD"}


async def payment_error(props: Props, team: tuple[str, ...]) -> str:
    """Nobody known: the payment fails twice, help in a chat is shown and accepted."""
    stage = props.stage
    await stage.ready(*team)
    since = props.clock.now()
    async with stage.on_the_site() as visitor:
        await visitor.does(*failing_payment(_ORDER))
        shown = await visitor.shown()
        if shown is None or shown.action != HELP:
            return f"{shown.action if shown else 'nothing'} was shown, not {HELP}"
        await visitor.accepts(shown)
    decided = await stage.world.acted_on(PAYMENT, since)
    if decided is None or decided.action != HELP:
        return "the decision is not in the log"
    stage.said.append(f"a visitor; {_fired(PAYMENT)} -> {_shown(shown)}, accepted")
    locked = _gates(decided, SALE)
    return f"a sale was locked by {', '.join(locked)}" if any(code.startswith("open_") for code in locked) else ""


async def open_refund(props: Props, team: tuple[str, ...]) -> str:
    """The same for a customer who waits for a refund: no offer is made.

    Another customer each time: help goes out once a day, and what came true for somebody does not come true again.
    """
    stage = props.stage
    alice = f"W{secrets.token_hex(4)}"
    if not await stage.waits_for_refund(alice, _ALICE):
        return "the refund was not stored"
    await stage.ready(*team)
    since = props.clock.now()
    async with stage.on_the_site(alice) as visitor:
        await visitor.does(*failing_payment(_ORDER))
        decided = await stage.world.acted_on(PAYMENT, since)
        if decided is None:
            return f"{PAYMENT} did not fire"
        shown = await visitor.shown() if decided.outcome == "acted" else None
    locked = _gates(decided, SALE)
    best = decided.resolution.best
    who = name(best) if best is not None and best.probability >= IDENTIFY_THRESHOLD else "a customer"
    instead = _shown(shown) if shown is not None else "nothing is shown"
    stage.said.append(f"{who}; {_fired(PAYMENT)} -> {instead}; {SALE} removed by {', '.join(locked) or 'nothing'}")
    if "open_refund" not in locked:
        return f"{SALE} is not locked by the open refund"
    return f"{SALE} was shown" if SALE in (decided.action, shown.action if shown is not None else "") else ""


async def call_me(props: Props, title: str, team: tuple[str, ...], number: str) -> str:
    """A second chat about the same thing: a call is offered, asked for, and made at once."""
    stage = props.stage
    await stage.ready(*team)
    topic = {"topic": "delivery costs"}
    async with stage.on_the_site() as visitor:
        await visitor.does(Happened("Chat Started", topic, 30.0), Happened("Chat Started", topic))
        shown = await visitor.shown()
        if shown is None or shown.action != CALL:
            return f"{shown.action if shown else 'nothing'} was shown, not {CALL}"
        stage.said.append(f"a visitor; {_fired(AGAIN)} -> {_shown(shown)}, called back")
        taken = await stage.call_back(title, visitor.asks_to_be_called(shown, number))
    if taken.problem:
        return taken.problem
    return "" if taken.first.cause == "callback" else f"it was offered because of {taken.first.cause}"


def _fired(pattern: str) -> str:
    title = next(one.title for one in library() if one.id == pattern)
    return f"{pattern} ({title[0].lower()}{title[1:]})"


def _shown(shown: ShownAction) -> str:
    return f"{shown.action}: {shown.content['title']} shown {shown.after_ms:.0f} ms after the event"


def _gates(decided: Decided, action: str) -> list[str]:
    """The codes of the gates that removed an action."""
    return [gate.code for one in decided.chosen.considered if one.action == action for gate in one.gated_by]
