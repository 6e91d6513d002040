"""`firstring review`: one pair after the other, answered with one key."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Final

from rich.console import Console
from rich.text import Text

from firstring.identity.review.questions import Answer
from firstring.ports import Clock, Random
from firstring.steward.showing import show_effect, show_question
from firstring.store.database import Database, Tenant
from firstring.store.deciding import answer, undo
from firstring.store.identity import review

KEYS: Final[dict[str, Answer]] = {"s": "same", "h": "household", "d": "different", "?": "unknown"}
_HELP: Final = "s same person   h same household   d different   ? don't know   u undo the last   q quit"


async def review_at_terminal(
    database: Database,
    tenant: Tenant,
    *,
    by: str,
    decide: bool,
    console: Console,
    key: Callable[[], str],
    clock: Clock,
    random: Random,
) -> int:
    """Asks until the reviewer quits or no pair is left; how many answers stand. key: waits for one, "" at the end.

    decide: answers become link decisions too: same a must-link, household and different a cannot-link.
    """
    answers = 0
    while True:
        question = await review.next_question(database, tenant, by, random=random, now=clock.now())
        if question is None:
            console.print("no pair is left to be asked about")
            break
        console.rule()
        show_question(console, question)
        console.print(Text(_HELP, style="bold"))
        pressed = await _pressed(key, console)
        if pressed == "q":
            break
        if pressed == "u":
            if answers:
                undone = await undo(database, tenant, None, by=by, now=clock.now())
                answers -= 1
                console.print(f"answer {undone.answer_id} taken back; its pair will be asked again", highlight=False)
            else:
                console.print("nothing was answered yet")
            continue
        given = await answer(database, tenant, question.question_id, KEYS[pressed], by=by, now=clock.now(), decide=decide)
        answers += 1
        console.print(f"answer {given.answer_id}: {given.answer}", highlight=False)
    if answers:
        async with database.transaction(tenant.tenant_id) as connection:
            show_effect(console, await review.effect(connection, tenant))
    return answers


async def _pressed(key: Callable[[], str], console: Console) -> str:
    while True:
        pressed = (await asyncio.to_thread(key)).lower()
        if pressed in ("", "q", "\x03", "\x04"):
            return "q"
        if pressed == "u" or pressed in KEYS:
            return pressed
        console.print(Text(_HELP, style="bold"))


def key_of_terminal() -> str:
    """One key of a terminal; of anything else the first character of the next line, "" at the end."""
    if sys.stdin.isatty():
        import typer

        return str(typer.getchar())
    while line := sys.stdin.readline():
        if line.strip():
            return line.strip()[0]
    return ""
