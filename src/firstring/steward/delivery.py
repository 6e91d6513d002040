"""The commands about what goes out: feeds of changes, actions on their way, promised calls, the web snippet."""

from __future__ import annotations

import uuid
from typing import Annotated, Any, get_args

import typer
from rich.console import Console
from rich.table import Table

from firstring.errors import BadInput
from firstring.ports import SystemClock
from firstring.steward.opened import run, store

feeds_app = typer.Typer(no_args_is_help=True, help="Who is told of changes by webhook.")
delivery_app = typer.Typer(no_args_is_help=True, help="Actions on their way to customers.")
callbacks_app = typer.Typer(no_args_is_help=True, help="Promised calls.")
web_app = typer.Typer(no_args_is_help=True, help="The snippet for web pages.")

out = Console()
err = Console(stderr=True)


def register(app: typer.Typer) -> None:
    """Adds the commands to the program."""
    app.add_typer(feeds_app, name="feeds")
    app.add_typer(delivery_app, name="delivery")
    app.add_typer(callbacks_app, name="callbacks")
    app.add_typer(web_app, name="web")


# --- feeds -------------------------------------------------------------------------------------------------------


@feeds_app.command("add")
def feeds_add(
    name: Annotated[str, typer.Argument(help="Its name.")],
    url: Annotated[str, typer.Argument(help="Where changes are posted.")],
    kind: Annotated[list[str] | None, typer.Option(help="Only changes of this kind; several times for several.")] = None,
    profiles: Annotated[bool, typer.Option("--profiles", help="With each person's golden record.")] = False,
    after: Annotated[int | None, typer.Option(help="After this position (default: from now on).", min=0)] = None,
) -> None:
    """Tells somebody of changes by webhook; shows the secret that their signatures are checked with."""
    from firstring.channels.outbound.feeds import secret_name
    from firstring.channels.outbound.guarded import checked_address
    from firstring.channels.outbound.signing import webhook_secret
    from firstring.store import changes

    unknown = [one for one in kind or () if one not in changes.KINDS]
    if unknown:
        raise BadInput("kind_unknown", f"There is no kind {unknown[0]}.", hint=f"One of {', '.join(changes.KINDS)}.")

    async def work() -> None:
        async with store() as (database, tenant, settings):
            checked_address(url, frozenset(settings.outbound_private_hosts))
            now = SystemClock().now()
            await changes.begin(database, tenant, now)
            async with database.transaction(tenant.tenant_id) as connection:
                found = await changes.read(connection, tenant, after, 1)
                assert found is not None
                position = found.last if after is None else after
                wanted: Any = kind or changes.KINDS
                await changes.add_feed(connection, tenant, name, url, wanted, profiles=profiles, position=position, now=now)
            out.print(webhook_secret(tenant.keys, secret_name(name)), soft_wrap=True, highlight=False)

    run(work())


@feeds_app.command("list")
def feeds_list() -> None:
    """Lists who is told, how far they are, and what keeps them from going on."""
    from firstring.store import changes

    async def work() -> None:
        async with store() as (database, tenant, _):
            async with database.transaction(tenant.tenant_id) as connection:
                found = await changes.feeds(connection, tenant)
        table = Table("name", "address", "kinds", "profiles", "position", "told", "failures", "why")
        for one in found:
            kinds = "all" if len(one.kinds) == len(changes.KINDS) else ", ".join(one.kinds)
            sent = one.sent_at.isoformat(timespec="seconds") if one.sent_at else ""
            words = (kinds, "yes" if one.profiles else "no", str(one.position), sent, str(one.failures), one.last_code or "")
            table.add_row(one.name, one.url, *words)
        out.print(table if found else "nobody is told of changes")

    run(work())


@feeds_app.command("remove")
def feeds_remove(name: Annotated[str, typer.Argument(help="Its name.")]) -> None:
    """Tells somebody no more."""
    from firstring.store import changes

    async def work() -> None:
        async with store() as (database, tenant, _):
            async with database.transaction(tenant.tenant_id) as connection:
                done = await changes.end_feed(connection, tenant, name)
        if not done:
            raise BadInput("unknown_feed", "There is no feed of this name.", where={"feed": name}, http_status=404)
        out.print(f"{name} is told no more")

    run(work())


# --- actions on their way ----------------------------------------------------------------------------------------


@delivery_app.command("list")
def delivery_list(
    state: Annotated[str | None, typer.Option(help="Only those in this state.")] = None,
    at_most: Annotated[int, typer.Option(help="How many.", min=1, max=10_000)] = 50,
) -> None:
    """Lists actions on their way and what became of them, the newest first; without their content."""
    from firstring.store.delivery import State, listed

    if state is not None and state not in get_args(State):
        raise BadInput("state_unknown", f"There is no state {state}.", hint=f"One of {', '.join(get_args(State))}.")

    async def work() -> None:
        async with store() as (database, tenant, _):
            found = await listed(database, tenant, state, at_most)  # type: ignore[arg-type]
        table = Table("delivery", "action", "route", "state", "why", "tries", "made", "ends")
        for one in found:
            times = (one.created_at.isoformat(timespec="seconds"), one.expires_at.isoformat(timespec="seconds"))
            words = (one.action, one.route, one.state, one.reason or "", str(one.attempts))
            table.add_row(str(one.delivery_id), *words, *times)
        out.print(table if found else "nothing is on its way")

    run(work())


@delivery_app.command("retry")
def delivery_retry(delivery: Annotated[str, typer.Argument(help="Its id.")]) -> None:
    """Tries a dead letter again, for a day at least; its gates are asked again."""
    from firstring.store.delivery import try_again

    async def work() -> None:
        async with store() as (database, tenant, _):
            async with database.transaction(tenant.tenant_id) as connection:
                await try_again(connection, tenant, _uuid(delivery), SystemClock().now())
        out.print(f"{delivery} is on its way again")

    run(work())


@delivery_app.command("secret")
def delivery_secret() -> None:
    """Shows the secret with which the posts to outbound_webhook_url are signed."""
    from firstring.channels.outbound.signing import webhook_secret
    from firstring.channels.outbound.webhook import NAME

    async def work() -> None:
        async with store() as (_, tenant, _settings):
            out.print(webhook_secret(tenant.keys, NAME), soft_wrap=True, highlight=False)

    run(work())


# --- promised calls ----------------------------------------------------------------------------------------------


@callbacks_app.command("list")
def callbacks_list(at_most: Annotated[int, typer.Option(help="How many.", min=1, max=10_000)] = 50) -> None:
    """Lists promised calls, those due last first; without numbers."""
    from firstring.store.callbacks import listed

    async def work() -> None:
        async with store() as (database, tenant, _):
            found = await listed(database, tenant, at_most)
        table = Table("call-back", "due", "state", "tries", "contact")
        for one in found:
            due = one.due_at.isoformat(timespec="seconds")
            table.add_row(str(one.callback_id), due, one.state, str(one.attempts), str(one.contact_id or ""))
        out.print(table if found else "no call was promised")

    run(work())


@callbacks_app.command("cancel")
def callbacks_cancel(callback: Annotated[str, typer.Argument(help="Its id.")]) -> None:
    """Takes a promised call back."""
    from firstring.store.callbacks import cancel

    async def work() -> None:
        async with store() as (database, tenant, _):
            async with database.transaction(tenant.tenant_id) as connection:
                await cancel(connection, tenant, _uuid(callback), SystemClock().now())
        out.print(f"{callback} is cancelled")

    run(work())


# --- web ---------------------------------------------------------------------------------------------------------


@web_app.command("snippet")
def web_snippet(key: Annotated[str, typer.Option(help="The write key of the pages.")]) -> None:
    """Prints what a page needs to load the snippet: its versioned address, with its digest."""
    from firstring.api.web import script
    from firstring.bootstrap import public_url
    from firstring.settings import load

    made = script()
    address = f"{public_url(load())}{made.path}"
    typer.echo(f'<script async src="{address}" integrity="{made.integrity}" crossorigin data-key="{key}"></script>')


def _uuid(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise BadInput("id_invalid", "That is no id.", hint="Take one from the list.") from None
