"""Commands about what is compared and about models: `firstring spec`, `firstring model ...`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from firstring.errors import BadInput

_err = Console(stderr=True)
model_app = typer.Typer(no_args_is_help=True, help="Models of who is who: imported, charted, compared.")


def register(app: typer.Typer) -> None:
    """Adds the commands to the program."""
    app.command("spec")(show_spec)
    app.add_typer(model_app, name="model")


def show_spec(
    check: Annotated[Path | None, typer.Option(help="A spec to check; what it comes to is printed whole.")] = None,
) -> None:
    """Prints what is compared, and under which keys records meet, as TOML."""
    from firstring.bulk.linking.console import spec_in
    from firstring.identity.comparison.spec import PERSON
    from firstring.identity.comparison.specfile import toml_of

    typer.echo(toml_of(spec_in(check) if check else PERSON), nl=False)


@model_app.command("import-splink")
def import_splink(
    file: Annotated[Path, typer.Argument(help="A model that Splink saved as JSON.")],
    output: Annotated[Path, typer.Option("--out", help="The model, JSON.")],
    records: Annotated[int, typer.Option(help="How many records Splink trained it on.", min=2)],
    column: Annotated[list[str] | None, typer.Option(help="SPLINK_COLUMN=FIELD, where the name does not say it.")] = None,
) -> None:
    """Makes a model of Splink's: every level that maps keeps its weight, every other one is listed."""
    from rich.table import Table

    from firstring.identity.canonical.fields import FIELDS
    from firstring.identity.canonical.synonyms import SYNONYMS, bare
    from firstring.identity.model.model import as_json
    from firstring.identity.model.splinkmodel import COLUMN_OF_FIELD, imported

    stated: dict[str, str] = {}
    for one in column or []:
        name, equals, field = one.partition("=")
        if not equals or field not in FIELDS:
            message = "Write SPLINK_COLUMN=FIELD, with a field of the vocabulary."
            raise BadInput("argument_invalid", message, where={"argument": one[:80]}, hint="docs/importing.md lists them.")
        stated[name] = field

    def column_of(name: str) -> str | None:
        return COLUMN_OF_FIELD.get(stated.get(name) or SYNONYMS.get(bare(name), ""))

    found = imported(_content(file), records, column_of)
    written_whole(output, as_json(found.model))
    shown = Table("comparison", "level", "state", "why")
    for row in found.told:
        shown.add_row(row.comparison, row.level, row.state, row.reason)
    _err.print(shown)
    states = [row.state for row in found.told if row.comparison != "blocking"]
    said = ", ".join(f"{states.count(state)} {state}" for state in ("mapped", "approximated", "left out"))
    _err.print(f"{found.model.version}: levels {said}", highlight=False)


@model_app.command("charts")
def show_charts(
    model: Annotated[Path, typer.Argument(help="A model of `train`.")],
    output: Annotated[Path, typer.Option("--out", help="The charts, one HTML file.")],
    pairs: Annotated[Path | None, typer.Option(help="Pairs of `link --pairs`.")] = None,
    pair: Annotated[str, typer.Option(help="LEFT_ID,RIGHT_ID to show step by step (default: the least certain).")] = "",
    truth: Annotated[Path | None, typer.Option(help="CSV or Parquet with record_id and person: shows calibration.")] = None,
    against: Annotated[Path | None, typer.Option(help="An earlier model to compare with.")] = None,
) -> None:
    """Draws a model: what each outcome is worth, how many pairs of each class, one pair, calibration, what changed."""
    from firstring.bulk.linking.charting import charted

    text = charted(model, pairs=pairs, pair=pair, truth=truth, other=against)
    written_whole(output, text.encode())
    _err.print(f"{output}: {len(text.encode()):,} bytes", highlight=False)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"The file cannot be read: {error.strerror}."
        raise BadInput("file_unreadable", message, where={"file": str(path)}, hint="Check its name.") from error


def written_whole(path: Path, content: bytes) -> None:
    """Writes a file that is there whole or not at all. Raises BadInput output_folder where its folder is not there."""
    if not path.parent.is_dir():
        raise BadInput(
            "output_folder", "The output's folder is not there.", where={"file": str(path)}, hint="Make it first."
        )
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_bytes(content)
    part.replace(path)
