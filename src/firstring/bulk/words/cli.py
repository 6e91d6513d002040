"""Commands about why people call: `firstring reasons train`, `try`, `list`, `use`; and `firstring words`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from firstring.errors import BadInput
from firstring.ports import SystemClock

if TYPE_CHECKING:
    from firstring.journey.words.textmodel import TextModel
    from firstring.store.database import Database, Tenant

SHOWN = 5
_ORIGIN = "cli"
_out = Console()
_err = Console(stderr=True)
reasons_app = typer.Typer(no_args_is_help=True, help="Why people call: a text model of your own labels.")


def register(app: typer.Typer) -> None:
    """Adds the commands to the program."""
    app.add_typer(reasons_app, name="reasons")
    app.command("words")(words)


def words(
    text: Annotated[str, typer.Argument(help="What somebody wrote.")],
    language: Annotated[str, typer.Option(help="Its language, where it is known (a tag such as de).")] = "",
) -> None:
    """What is read in a text: language, mood, topic, urgency, each with its confidence, as JSON. Needs no store."""
    from firstring.journey.words import read_words

    typer.echo(msgspec.json.encode(read_words(text, language or None).properties()).decode())


@reasons_app.command("train")
def train(
    file: Annotated[Path, typer.Argument(help="CSV with a head line.")],
    text: Annotated[str, typer.Option(help="The column of what was said or written.")] = "text",
    label: Annotated[str, typer.Option(help="The column of the reason.")] = "label",
    dry: Annotated[bool, typer.Option("--dry", help="Says what it is worth and keeps nothing; needs no store.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Prints the report as JSON.")] = False,
) -> None:
    """Learns why people call from texts with labels, and keeps the model in the store, in force at once."""
    from firstring.bulk.words import training

    examples = training.examples_in(file, text, label)
    _err.print(f"{len(examples.texts):,} texts, {len(set(examples.labels))} labels", style="dim", highlight=False)
    model, report = training.train(examples)
    kept = None if dry else _run(_keep(model, msgspec.to_builtins(report)))
    if as_json:
        typer.echo(msgspec.json.encode({"version": model.version, "kept": kept, **msgspec.to_builtins(report)}).decode())
        return
    lines = [
        f"{report.examples:,} texts of {report.labels} labels, {report.features:,} features",
        f"held out: {report.held_out:,} texts, accuracy {report.accuracy:.1%}, calibration error {report.error:.1%}",
    ]
    if report.caught is not None and report.kept is not None:
        unlike, like = f"{report.caught:.0%}", f"{1 - report.kept:.1%}"
        lines.append(f"of texts about labels that it was not shown {unlike} are called unknown, of others {like}")
    if report.left_out:
        lines.append(f"{report.left_out:,} rows without a text or a label were left out")
    if report.rare:
        lines.append(f"labels with too few texts were left out: {', '.join(report.rare)}")
    lines.append(f"{model.version} is not kept" if kept is None else f"{model.version} is kept as number {kept}, in force")
    for line in lines:
        _out.print(line, highlight=False, markup=False, soft_wrap=True)


@reasons_app.command("try")
def try_model(
    text: Annotated[list[str], typer.Argument(help="What somebody said or wrote; several are read in turn.")],
    as_json: Annotated[bool, typer.Option("--json", help="Prints probabilities as JSON.")] = False,
) -> None:
    """What the model in force makes of a text, before the journey of whoever says it."""
    model = _run(_in_force())
    for one in text:
        ranked = sorted(model.read(one).items(), key=lambda item: (-item[1], item[0]))
        if as_json:
            typer.echo(msgspec.json.encode({"version": model.version, "reasons": dict(ranked)}).decode())
            continue
        for label, probability in ranked[:SHOWN]:
            _out.print(f"{probability:.3f} {label}", highlight=False, markup=False)


@reasons_app.command("list")
def list_models() -> None:
    """The models that are kept, and which one is in force."""
    table = Table("number", "version", "texts", "labels", "accuracy", "trained", "in force")
    for one in _run(_kept()):
        said = one.report
        table.add_row(
            str(one.model_id), one.version, f"{said.get('examples', 0):,}", str(said.get("labels", "")),
            f"{said.get('accuracy', 0.0):.1%}", f"{one.trained_at:%Y-%m-%d %H:%M}", "yes" if one.in_force else "",
        )  # fmt: skip
    _out.print(table)


@reasons_app.command("use")
def use(model: Annotated[str, typer.Argument(help="The number of a model, or none.")]) -> None:
    """Puts a model that was kept in force again, or does without one."""
    if model != "none" and not (model.isascii() and model.isdecimal() and int(model[:10]) < 2**31):
        raise BadInput("argument_invalid", "Give the number of a model, or none.", hint="firstring reasons list")
    version = _run(_use(None if model == "none" else int(model)))
    _out.print("no text model is in force" if version is None else f"{version} is in force", highlight=False)


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


@asynccontextmanager
async def _opened() -> AsyncIterator[tuple[Database, Tenant]]:
    from firstring.settings import load
    from firstring.store.opening import open_database

    settings = load()
    store = await open_database(settings, lambda text: _err.print(text, style="dim", highlight=False))
    try:
        yield store.database, await store.database.tenant_named(settings.tenant)
    finally:
        await store.close()


async def _keep(model: TextModel, report: dict[str, Any]) -> int:
    from firstring.store.journey.reasoning import put_in_force

    async with _opened() as (database, tenant):
        async with database.transaction(tenant.tenant_id, timeout_s=60.0) as connection:
            now = SystemClock().now()
            return await put_in_force(connection, tenant, model, report, now=now, origin=_ORIGIN)


async def _in_force() -> TextModel:
    from firstring.store.journey.reasoning import refresh

    async with _opened() as (database, tenant):
        model = await refresh(database, tenant)
    if model is None:
        raise BadInput("no_text_model", "No text model is in force.", hint="Train one: firstring reasons train FILE.csv")
    return model


async def _kept() -> Any:
    from firstring.store.journey.reasoning import kept_models

    async with _opened() as (database, tenant):
        async with database.transaction(tenant.tenant_id) as connection:
            return await kept_models(connection, tenant)


async def _use(model_id: int | None) -> str | None:
    from firstring.store.journey.reasoning import use as put_back

    async with _opened() as (database, tenant):
        async with database.transaction(tenant.tenant_id) as connection:
            return await put_back(connection, tenant, model_id, origin=_ORIGIN)
