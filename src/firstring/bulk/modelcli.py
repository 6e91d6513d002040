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
    from firstring.bulk.linking import spec_in
    from firstring.identity.spec import PERSON
    from firstring.identity.specfile import toml_of

    typer.echo(toml_of(spec_in(check) if check else PERSON), nl=False)


def written_whole(path: Path, content: bytes) -> None:
    """Writes a file that is there whole or not at all. Raises BadInput output_folder where its folder is not there."""
    if not path.parent.is_dir():
        raise BadInput(
            "output_folder", "The output's folder is not there.", where={"file": str(path)}, hint="Make it first."
        )
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_bytes(content)
    part.replace(path)
