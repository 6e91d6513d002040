"""The contacts that arrive, one after the other, and what each of them is there to show."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from firstring.demo.account import IDENTIFY_THRESHOLD, journey_of_best, name, offers_locked
from firstring.demo.props import Props, stranger
from firstring.demo.stage import Taken
from firstring.demo.visits import call_me, open_refund, payment_error
from firstring.demo.voice import Call

TEAM: Final = ("june", "dev", "carmen", "marcus")
"""Who is ready unless a scene says otherwise; Carmen speaks Spanish, Marcus is in the VIP team, Dev takes chats."""
BUSY: Final = "bruno"
"""An agent whose phone is off the hook."""
GRACE: Final = "+12025550110"
DANIEL: Final = "+12025550111"
MORETTIS: Final = "+12025550112"
VICTORIA: Final = "+12025550113"
LUCIA: Final = "+12025550114"
HENRY: Final = "+12025550115"
NADIA: Final = "+12025550116"
OWEN: Final = "+12025550117"
PRIYA: Final = "+12025550118"
TOM: Final = "+12025550119"
STRANGER: Final = ""
"""Another number each time (`stranger`): whoever called once is not unknown any more."""
SWITCHBOARD: Final = "+13125550100"
ANONYMOUS: Final = "anonymous"
VISITS: Final = (GRACE, DANIEL, MORETTIS, PRIYA, TOM, VICTORIA, STRANGER, NADIA, LUCIA, OWEN)
"""Who calls while the visitor looks."""


class Scene(NamedTuple):
    """name: of its step. play: lets contacts arrive, and says what is not as it should be (empty: nothing)."""

    name: str
    title: str
    play: Callable[[Props, str], Awaitable[str]]


def _one_call(
    number: str, wrong: Callable[[Taken], str], *, by: str | None = "", pick: str = ""
) -> Callable[[Props, str], Awaitable[str]]:
    """A scene of one call. by: for whom its carrier vouches (empty: the number shown), None: nobody signs.

    pick: the given name of whom the agent picks.
    """

    async def play(props: Props, title: str) -> str:
        shown = number or stranger()
        await props.stage.ready(*TEAM)
        taken = await props.stage.call(title, Call(shown) if by is None else props.signed(shown, by=by), pick=pick)
        return taken.problem or wrong(taken)

    return play


def _is(taken: Taken, expected: str) -> str:
    best = taken.view.decision.resolution.best
    found = name(best) if best is not None and best.probability >= IDENTIFY_THRESHOLD else "nobody"
    return "" if found == expected else f"{found} was recognised, not {expected}"


def _trust(taken: Taken, code: str) -> str:
    codes = [reason.code for assurance in taken.view.decision.assurances for reason in assurance.reasons]
    return "" if code in codes else f"the reasons are {', '.join(codes)}, without {code}"


def _served_by(taken: Taken, login: str) -> str:
    return "" if taken.login == login else f"{taken.account.agent} got it"


def _known(taken: Taken) -> str:
    return _is(taken, "Grace Okafor") or _trust(taken, "signature_attested_a")


def _refund(taken: Taken) -> str:
    return _is(taken, "Daniel Brandt") or ("" if offers_locked(taken.view.decision) else "offers are not locked")


def _household(taken: Taken) -> str:
    resolution = taken.first.resolution
    members = len(resolution.household.members) if resolution.household is not None else 0
    if members != 3 or len(resolution.candidates) != 3:
        return f"{members} people in the household, {len(resolution.candidates)} candidates, not three"
    if resolution.question is None:
        return "no question that tells them apart"
    return _is(taken, "Elena Moretti")


def _nobody(taken: Taken) -> str:
    best = taken.view.decision.resolution.best
    return "" if best is None else f"{name(best)} came into question"


def _hot(taken: Taken) -> str:
    return _nobody(taken) or ("" if taken.view.decision.resolution.hot else "the number is not known as a switchboard")


def _vip(taken: Taken) -> str:
    return _is(taken, "Victoria Ashworth") or _served_by(taken, "marcus")


def _spanish(taken: Taken) -> str:
    return _is(taken, "Lucía Fernández") or _served_by(taken, "carmen")


def _spoofed(taken: Taken) -> str:
    return _trust(taken, "signature_failed")


async def _busy(props: Props, title: str) -> str:
    """A customer whom nobody knows: one who is known would go to whoever served them in the last show."""
    stage = props.stage
    await stage.ready(BUSY, "june")
    taken = await stage.call(title, props.signed(stranger()))
    if taken.problem:
        return taken.problem
    if taken.first.agent_id == taken.view.decision.agent_id:
        return "the first agent took it"
    return _served_by(taken, "june")


async def _queue(props: Props, title: str) -> str:
    """One agent, two callers: the second waits until the first has hung up and the agent has finished."""
    stage = props.stage
    await stage.ready("june")
    taken = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(stage.call("the only agent is taken", props.signed(OWEN, hold_ms=1_200), on_desk=taken))
        await taken.wait()
        second = group.create_task(stage.call(title, props.signed(PRIYA)))
        waited = await stage.waiting()
    occupant, after = first.result(), second.result()
    if occupant.problem or after.problem:
        return occupant.problem or after.problem
    if not waited or after.first.outcome != "wait":
        return "the second caller did not wait"
    return _served_by(after, "june")


async def _chat(props: Props, title: str) -> str:
    await props.stage.ready(*TEAM)
    taken = await props.stage.chat(title, {"email": "sofia.lindqvist@example.com"})
    return taken.problem or _is(taken, "Sofia Lindqvist") or _served_by(taken, "dev")


async def _web_event(props: Props, title: str) -> str:
    await props.stage.ready(*TEAM)
    order = {"order_id": "1071", "total": 349.0, "currency": "USD"}
    if not await props.stage.event("Payment Failed", "C10012", order):
        return "the event was not stored"
    taken = await props.stage.call(title, props.signed(TOM))
    if taken.problem or _is(taken, "Tom Becker"):
        return taken.problem or _is(taken, "Tom Becker")
    journey = journey_of_best(taken.view.decision)
    touches = [touch.name for touch in journey.touches] if journey is not None else []
    return "" if "Payment Failed" in touches else f"the touches are {', '.join(touches)}"


async def _payment_error(props: Props, _title: str) -> str:
    return await payment_error(props, TEAM)


async def _payment_error_and_refund(props: Props, _title: str) -> str:
    return await open_refund(props, TEAM)


async def _call_me(props: Props, title: str) -> str:
    return await call_me(props, title, TEAM, GRACE)


SCENES: Final = (
    Scene("known_caller", "a known customer, signed by the carrier", _one_call(GRACE, _known)),
    Scene("open_refund", "a caller with an open refund", _one_call(DANIEL, _refund)),
    Scene("household", "a landline that three people share", _one_call(MORETTIS, _household, by=None, pick="Elena")),
    Scene("unknown_number", "a number nobody knows", _one_call(STRANGER, _nobody)),
    Scene("anonymous", "a withheld number", _one_call(ANONYMOUS, _nobody, by=None)),
    Scene("switchboard", "a switchboard of 119 people", _one_call(SWITCHBOARD, _hot, by=None)),
    Scene("vip", "a VIP: first to their team", _one_call(VICTORIA, _vip)),
    Scene("spanish", "a customer who speaks Spanish", _one_call(LUCIA, _spanish)),
    Scene("spoofed", "Henry's number, signed for another one", _one_call(HENRY, _spoofed, by=GRACE)),
    Scene("busy_agent", "the first agent is busy (486)", _busy),
    Scene("queue", "everybody is busy: waits, then is put through", _queue),
    Scene("chat", "a chat, accepted at the desk", _chat),
    Scene("web_event", "their payment failed on the web a moment ago", _web_event),
    Scene("payment_error", "on the web site, a payment that fails twice", _payment_error),
    Scene("no_offer", "the same, for a customer with an open refund", _payment_error_and_refund),
    Scene("call_me", "on the web site, a second chat: called back at once", _call_me),
)
