"""Commands about the store's model versions: `firstring model list|show|diff|roll-in|retire|drift|fit-rings`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from firstring import limits
from firstring.bulk.linking.modelcli import model_app
from firstring.errors import BadInput
from firstring.ports import SystemClock
from firstring.settings import Settings, load

if TYPE_CHECKING:
    from firstring.identity.model.model import Model
    from firstring.store.database import Database, Tenant

_out = Console()
_err = Console(stderr=True)
_VERSION = Annotated[str, typer.Argument(help="Number or name of a version (firstring model list).")]


def with_store(work: Callable[[Database, Tenant, Settings], Any]) -> Any:
    """Runs `work` with the store of the settings."""
    import uvloop

    from firstring.store.opening import open_database

    async def opened() -> Any:
        settings = load()
        store = await open_database(settings, lambda text: _err.print(text, style="dim", highlight=False))
        try:
            return await work(store.database, await store.database.tenant_named(settings.tenant), settings)
        finally:
            await store.close()

    return uvloop.run(opened())


def train_on_store(output: Path | None, spec_path: Path | None, threshold: float, memory_mb: int) -> None:
    """What `firstring train --store` does."""
    from firstring.bulk.linking.console import Told, spec_in
    from firstring.bulk.linking.modelcli import written_whole
    from firstring.bulk.versions.training import say_trained, train_store
    from firstring.identity.comparison.spec import PERSON
    from firstring.identity.model.model import as_json

    spec = spec_in(spec_path) if spec_path else PERSON
    clock = SystemClock()

    async def work(database: Database, tenant: Tenant, _settings: Settings) -> None:
        with Told(_err, clock) as told:
            trained = await train_store(
                database, tenant, threshold=threshold, memory_mb=memory_mb, now=clock.now(), told=told, spec=spec
            )
        say_trained(_out, trained)
        if output is not None:
            written_whole(output, as_json(trained.model))

    with_store(work)


@model_app.command("list")
def list_versions() -> None:
    """Lists the versions in the store."""
    from firstring.bulk.versions.listing import say_versions, versions

    async def work(database: Database, tenant: Tenant, _settings: Settings) -> None:
        async with database.transaction(tenant.tenant_id) as connection:
            say_versions(_out, await versions(connection, tenant))

    with_store(work)


@model_app.command("show")
def show_version(version: _VERSION) -> None:
    """Shows what a version says: its figures, and the weight of each level."""
    from firstring.bulk.versions.listing import find_version, say_version
    from firstring.store.identity.models import model_of

    async def work(database: Database, tenant: Tenant, _settings: Settings) -> None:
        async with database.transaction(tenant.tenant_id) as connection:
            found = await find_version(connection, tenant, version)
            say_version(_out, found, await model_of(connection, tenant, found.number))

    with_store(work)


@model_app.command("diff")
def compare_versions(
    one: Annotated[str, typer.Argument(help="A version of the store, or a model's file (.json).")],
    other: Annotated[str, typer.Argument(help="Another one.")],
) -> None:
    """Shows where two versions weigh otherwise."""
    from firstring.bulk.versions.listing import find_version, say_difference
    from firstring.store.identity.models import model_of

    files = {name: _from_file(Path(name)) for name in (one, other) if name.endswith(".json")}
    if len(files) == len({one, other}):
        say_difference(_out, files[one], files[other])
        return

    async def work(database: Database, tenant: Tenant, _settings: Settings) -> None:
        async with database.transaction(tenant.tenant_id) as connection:
            models = dict(files)
            for name in {one, other} - files.keys():
                found = await find_version(connection, tenant, name)
                models[name] = (await model_of(connection, tenant, found.number)).model
        say_difference(_out, models[one], models[other])

    with_store(work)


def _from_file(path: Path) -> Model:
    from firstring.identity.model.model import from_json

    try:
        return from_json(path.read_bytes())
    except OSError as error:
        raise BadInput("model_missing", f"The model cannot be read: {error.strerror}.", where={"file": str(path)}) from error


@model_app.command("roll-in")
def roll_version_in(
    version: _VERSION,
    yes: Annotated[bool, typer.Option("--yes", help="Brings it into force; without, the report is all.")] = False,
    threshold: Annotated[
        float | None,
        typer.Option(help="Probability from which on two records are one person; another than it was trained with."),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Links all records anew, though it is in force.")] = False,
    memory_mb: Annotated[int, typer.Option(help="Memory of the pairs; beyond it they go to disk.", min=100)] = 1_000,
) -> None:
    """Brings a version into force beside a running server; says first what would merge and split."""
    from firstring.bulk.linking.console import Told
    from firstring.bulk.versions.report import say_report
    from firstring.bulk.versions.rollin import roll_in

    os.nice(limits.NICENESS)
    clock = SystemClock()

    async def work(database: Database, tenant: Tenant, _settings: Settings) -> None:
        with Told(_err, clock) as told:
            done = await roll_in(
                database, tenant, version, yes=yes, threshold=threshold, memory_mb=memory_mb, clock=clock, told=told,
                again=again,
            )  # fmt: skip
        if done.report is not None:
            say_report(_out, done.report)
        said = (
            f"{done.version.version} (number {done.version.number}) is in force"
            if done.in_force
            else f"nothing has changed; to bring it into force: firstring model roll-in {done.version.number} --yes"
        )
        _out.print(said, highlight=False, soft_wrap=True)

    with_store(work)


@model_app.command("retire")
def retire_version(version: _VERSION) -> None:
    """Retires a version that is not in force, or gives up rolling it in."""
    from firstring.bulk.versions.rollin import retire

    async def work(database: Database, tenant: Tenant, _settings: Settings) -> None:
        done = await retire(database, tenant, version, clock=SystemClock())
        _out.print(f"{done.version} (number {done.number}) is retired", highlight=False)

    with_store(work)


@model_app.command("drift")
def show_drift(
    since: Annotated[int, typer.Option(help="Records that came or changed in the last so many days.", min=1)] = 30,
    as_json: Annotated[bool, typer.Option("--json", help="Prints the result as JSON.")] = False,
) -> None:
    """Does what arrives now look like what the version in force was trained on? Exit status 1 on an alarm."""
    import msgspec

    from firstring.bulk.versions.drifting import look_for_drift, say_drift

    os.nice(limits.NICENESS)

    async def work(database: Database, tenant: Tenant, _settings: Settings) -> Any:
        return await look_for_drift(database, tenant, now=SystemClock().now(), since_days=since)

    found = with_store(work)
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
    else:
        say_drift(_out, found)
    if found.state == "alarm":
        raise typer.Exit(1)


@model_app.command("fit-rings")
def fit_priors_of_rings(
    yes: Annotated[
        bool, typer.Option("--yes", help="Brings the fitted priors into force; without, the report is all.")
    ] = False,
    last: Annotated[
        int, typer.Option(help="Fits to the newest so many contacts of which it is known who it was.", min=1)
    ] = 5_000,
    named: Annotated[bool, typer.Option("--named", help="Brings the named priors back into force.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Prints the report as JSON.")] = False,
) -> None:
    """Fits the priors of who rings to contacts whose caller an agent confirmed; shows what they state before and after."""
    import msgspec

    from firstring.bulk.versions import fitting

    os.nice(limits.NICENESS)

    async def work(database: Database, tenant: Tenant, _settings: Settings) -> Any:
        now = SystemClock().now()
        if named:
            await fitting.use_named(database, tenant, now=now)
            return None
        return await fitting.fit_rings(
            database, tenant, yes=yes, at_most=last, now=now,
            told=lambda number, loss: _err.print(f"fit {number + 1}: {loss:.4f} nats", style="dim", highlight=False),
        )  # fmt: skip

    found = with_store(work)
    if found is None:
        _out.print("the named priors are in force", highlight=False)
        return
    if as_json:
        typer.echo(msgspec.json.encode(fitting.as_json(found)).decode())
    else:
        fitting.say_fit(_out, found)
    if yes:
        said = f"{found.version} is in force, {found.basis}"
    else:
        said = "nothing has changed; to bring them into force: firstring model fit-rings --yes"
    _err.print(said, highlight=False, soft_wrap=True)
