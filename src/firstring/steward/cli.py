"""The commands of stewards. Each opens the store, does one thing, and closes it again."""

from __future__ import annotations

import csv
import getpass
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import msgspec
import typer
from rich.console import Console

from firstring.errors import BadInput
from firstring.ports import SystemClock, SystemRandom
from firstring.steward.opened import run, store

if TYPE_CHECKING:
    from firstring.store.database import Connection, Tenant
    from firstring.store.deciding import Made

review_app = typer.Typer(invoke_without_command=True, help="Clerical review: people say which pairs are one person.")
held_app = typer.Typer(no_args_is_help=True, help="Merges that guards hold back.")
decision_app = typer.Typer(no_args_is_help=True, help="Stewards' decisions about links; they hold through every retraining.")

By = Annotated[str, typer.Option("--by", help="Who decides (default: the account).")]
Because = Annotated[str, typer.Option("--because", help="Why; kept with the decision.")]
AsJson = Annotated[bool, typer.Option("--json", help="Prints the result as JSON.")]
Decide = Annotated[bool, typer.Option("--decide", help="Answers become must-links and cannot-links too.")]

out = Console()
err = Console(stderr=True)


def register(app: typer.Typer) -> None:
    """Adds the commands to the program."""
    app.command("explain")(explain)
    app.command("guards")(guards)
    app.add_typer(review_app, name="review")
    app.add_typer(held_app, name="held")
    app.add_typer(decision_app, name="decision")


def _say(text: str) -> None:
    err.print(text, style="dim", highlight=False)


def _who(by: str) -> str:
    return by or getpass.getuser()


def _json(value: Any) -> None:
    typer.echo(msgspec.json.format(msgspec.json.encode(value)).decode())


@asynccontextmanager
async def _reading() -> AsyncIterator[tuple[Connection, Tenant]]:
    async with store() as (database, tenant, _):
        async with database.transaction(tenant.tenant_id) as connection:
            yield connection, tenant


def _say_made(made: Made) -> None:
    numbers = ", ".join(map(str, made.decision_ids))
    noun = "decision" if len(made.decision_ids) == 1 else "decisions"
    out.print(f"{noun} {numbers}{_came_to(made)}", highlight=False, soft_wrap=True)
    if made.waits:
        out.print(
            "no model links records yet: it takes effect with the first version (firstring train --store)", soft_wrap=True
        )
    if made.apart:
        persons = ", ".join(map(str, made.apart))
        out.print(
            f"decided about two records, not all others came along: person {persons}. To join two persons whole, name their "
            "numbers: firstring decision must",
            highlight=False,
            soft_wrap=True,
        )


def _came_to(made: Made) -> str:
    known = ((made.merged, "merged"), (made.split, "split off"))
    parts = [f"{count:,} person{'s' if count > 1 else ''} {what}" for count, what in known if count]
    return f": {', '.join(parts)}" if parts else ""


# --- why -------------------------------------------------------------------------------------------------------------


def explain(
    one: Annotated[str, typer.Argument(metavar="A", help="A person's number, or a record as SOURCE:RECORD_ID.")],
    other: Annotated[str, typer.Argument(metavar="B", help="The same; left out: what holds person A together.")] = "",
    as_json: AsJson = False,
) -> None:
    """Why two are, or are not, one person: every weight in words, the way of links, what would tip it."""
    from firstring.steward.showing import show_pair, show_person
    from firstring.store.identity.explaining import why_pair, why_person
    from firstring.store.identity.looking import person_named

    async def work() -> None:
        async with _reading() as (connection, tenant):
            if other:
                pair = await why_pair(connection, tenant, one, other)
                _json(pair) if as_json else show_pair(out, pair)
            else:
                person = await why_person(connection, tenant, await person_named(connection, tenant, one))
                _json(person) if as_json else show_person(out, person)

    run(work())


def guards(
    at_most: Annotated[int, typer.Option(help="How many identifiers.", min=1, max=1_000)] = 50,
    values: Annotated[bool, typer.Option("--values", help="Shows the values themselves, opened from a record.")] = False,
    as_json: AsJson = False,
) -> None:
    """Identifiers that point at nobody: placeholders, switchboards, inboxes of many; and why."""
    from firstring.steward.showing import show_hot_keys
    from firstring.store.identity.hotkeys import hot_keys

    async def work() -> None:
        async with _reading() as (connection, tenant):
            found = await hot_keys(connection, tenant, random=SystemRandom(1), at_most=at_most, show_values=values)
            _json(found) if as_json else show_hot_keys(out, found)

    run(work())


# --- clerical review -------------------------------------------------------------------------------------------------


@review_app.callback()
def review(context: typer.Context, by: By = "", decide: Decide = False) -> None:
    """Asks about one pair after the other, the most informative first: s same, h household, d different, ? don't know."""
    if context.invoked_subcommand is not None:
        return
    from firstring.steward.asking import key_of_terminal, review_at_terminal

    async def work() -> None:
        async with store() as (database, tenant, _):
            answers = await review_at_terminal(
                database, tenant, by=_who(by), decide=decide, console=out, key=key_of_terminal, clock=SystemClock(),
                random=SystemRandom(),
            )  # fmt: skip
            out.print(f"{answers:,} answers; firstring train --store learns from them", highlight=False)

    run(work())


@review_app.command("next")
def review_next(by: By = "", as_json: AsJson = False) -> None:
    """Shows the next pair; `review answer` answers it."""
    from firstring.steward.showing import show_question
    from firstring.store.identity.review import next_question

    async def work() -> None:
        async with store() as (database, tenant, _):
            found = await next_question(database, tenant, _who(by), random=SystemRandom(), now=SystemClock().now())
            if as_json:
                _json(found)
            elif found is None:
                out.print("no pair is left to be asked about")
            else:
                show_question(out, found)
                out.print(f"firstring review answer {found.question_id} same|household|different|unknown", highlight=False)

    run(work())


@review_app.command("answer")
def review_answer(
    question: Annotated[int, typer.Argument(help="The question's number.")],
    said: Annotated[str, typer.Argument(metavar="ANSWER", help="same, household, different or unknown.")],
    by: By = "",
    decide: Decide = False,
    as_json: AsJson = False,
) -> None:
    """Answers a question of `review next`."""
    from firstring.identity.review.questions import Answer
    from firstring.store.deciding import answer

    if said not in get_args(Answer):
        raise BadInput("answer_invalid", f"There is no answer {said[:20]}.", hint=f"One of {', '.join(get_args(Answer))}.")

    async def work() -> None:
        async with store() as (database, tenant, _):
            given = await answer(
                database, tenant, question, said, by=_who(by), now=SystemClock().now(), decide=decide,  # type: ignore[arg-type]
            )  # fmt: skip
            _json(given) if as_json else out.print(f"answer {given.answer_id}: {given.answer}", highlight=False)

    run(work())


@review_app.command("undo")
def review_undo(
    number: Annotated[int | None, typer.Argument(metavar="ANSWER", help="Its number (default: your last one).")] = None,
    by: By = "",
) -> None:
    """Takes an answer back, and the decision that was made of it; the pair is asked about again."""
    from firstring.store.deciding import undo

    async def work() -> None:
        async with store() as (database, tenant, _):
            undone = await undo(database, tenant, number, by=_who(by), now=SystemClock().now())
            out.print(f"answer {undone.answer_id} taken back", highlight=False)

    run(work())


@review_app.command("effect")
def review_effect(as_json: AsJson = False) -> None:
    """What the answers say of the stated probabilities, and where they contradict the model. Changes nothing."""
    from firstring.steward.showing import show_effect
    from firstring.store.identity.review import effect

    async def work() -> None:
        async with _reading() as (connection, tenant):
            found = await effect(connection, tenant)
            _json(found) if as_json else show_effect(out, found)

    run(work())


@review_app.command("labels")
def review_labels(output: Annotated[Path, typer.Option("--out", help="CSV, one answer a row.")]) -> None:
    """Writes the answers as a file of labels."""
    from firstring.store.identity.review import Label, labels

    async def work() -> None:
        async with _reading() as (connection, tenant):
            found = await labels(connection, tenant)
        try:
            with output.open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(Label.__struct_fields__)
                writer.writerows([getattr(one, name) for name in Label.__struct_fields__] for one in found)
        except OSError as error:
            where = {"file": str(output)}
            raise BadInput("output_unwritable", f"The file cannot be written: {error.strerror}.", where=where) from error
        out.print(f"{len(found):,} answers", highlight=False)

    run(work())


# --- held merges -----------------------------------------------------------------------------------------------------


@held_app.command("list")
def held_list(as_json: AsJson = False) -> None:
    """Merges that guards hold back, each with its reason."""
    from firstring.steward.showing import show_held
    from firstring.store.identity.verdicts import held_merges

    async def work() -> None:
        async with _reading() as (connection, tenant):
            found = await held_merges(connection, tenant)
            _json(found) if as_json else show_held(out, found)

    run(work())


def _settle(left: int, right: int, accept: bool, because: str, by: str) -> None:
    from firstring.store.deciding import settle_held

    async def work() -> None:
        async with store() as (database, tenant, _):
            now = SystemClock().now()
            made = await settle_held(database, tenant, left, right, accept=accept, by=_who(by), because=because, now=now)
            _say_made(made)

    run(work())


@held_app.command("accept")
def held_accept(
    left: Annotated[int, typer.Argument(help="A person's number.")],
    right: Annotated[int, typer.Argument(help="The other's.")],
    because: Because,
    by: By = "",
) -> None:
    """Lets a held merge happen: a must-link between the two that agree best."""
    _settle(left, right, True, because, by)


@held_app.command("reject")
def held_reject(
    left: Annotated[int, typer.Argument(help="A person's number.")],
    right: Annotated[int, typer.Argument(help="The other's.")],
    because: Because,
    by: By = "",
) -> None:
    """Keeps the two persons apart for good: a cannot-link."""
    _settle(left, right, False, because, by)


# --- decisions -------------------------------------------------------------------------------------------------------


def _decide(kind: str, one: str, other: str, because: str, by: str) -> None:
    from firstring.store.deciding import decide_pair

    async def work() -> None:
        async with store() as (database, tenant, _):
            now = SystemClock().now()
            made = await decide_pair(database, tenant, kind, one, other, by=_who(by), because=because, now=now)  # type: ignore[arg-type]
            _say_made(made)

    run(work())


@decision_app.command("must")
def decision_must(
    one: Annotated[str, typer.Argument(metavar="A", help="A record as SOURCE:RECORD_ID, or a person's number.")],
    other: Annotated[str, typer.Argument(metavar="B", help="The same.")],
    because: Because,
    by: By = "",
) -> None:
    """The two are one person, whatever a model says."""
    _decide("must", one, other, because, by)


@decision_app.command("cannot")
def decision_cannot(
    one: Annotated[str, typer.Argument(metavar="A", help="A record as SOURCE:RECORD_ID, or a person's number.")],
    other: Annotated[str, typer.Argument(metavar="B", help="The same.")],
    because: Because,
    by: By = "",
) -> None:
    """The two are not one person, whatever a model says."""
    _decide("cannot", one, other, because, by)


@decision_app.command("unmerge")
def decision_unmerge(
    person: Annotated[int, typer.Argument(help="The person's number.")],
    record: Annotated[str, typer.Argument(help="The record that is not theirs, as SOURCE:RECORD_ID.")],
    because: Because,
    by: By = "",
) -> None:
    """Takes a record out of a person; the result is what never merging it would have given."""
    from firstring.store.deciding import take_out

    async def work() -> None:
        async with store() as (database, tenant, _):
            now = SystemClock().now()
            _say_made(await take_out(database, tenant, person, record, by=_who(by), because=because, now=now))

    run(work())


@decision_app.command("list")
def decision_list(
    revoked: Annotated[bool, typer.Option("--revoked", help="Those revoked too.")] = False,
    at_most: Annotated[int, typer.Option(help="The newest so many.", min=1, max=100_000)] = 100,
    as_json: AsJson = False,
) -> None:
    """Decisions about links: who, when, why."""
    from firstring.steward.showing import show_decisions
    from firstring.store.identity.verdicts import all_decisions

    async def work() -> None:
        async with _reading() as (connection, tenant):
            found = await all_decisions(connection, tenant, revoked=revoked, at_most=at_most)
            _json(found) if as_json else show_decisions(out, found)

    run(work())


@decision_app.command("revoke")
def decision_revoke(
    number: Annotated[int, typer.Argument(help="The decision's number.")], because: Because, by: By = ""
) -> None:
    """Ends a decision: what rested on it comes apart, or together, again."""
    from firstring.store.deciding import revoke

    async def work() -> None:
        async with store() as (database, tenant, _):
            made = await revoke(database, tenant, number, by=_who(by), because=because, now=SystemClock().now())
            out.print(f"decision {number} revoked{_came_to(made)}", highlight=False)

    run(work())
