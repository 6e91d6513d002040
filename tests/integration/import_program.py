"""A program that imports one file, for tests that interrupt it: arguments as JSON on the standard input."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from firstring.bulk.importing.load import run_import
from firstring.settings import Settings
from firstring.store.database import Database


async def main(given: dict[str, Any]) -> None:
    database = await Database.open(given["arguments"], bytes.fromhex(given["master_key"]), connections=2)
    try:
        settings = Settings(home=Path("/nowhere"), country="GB", import_batch=given["batch"])
        tenant = await database.tenant(given["tenant"])
        await run_import(Path(given["file"]), "crm", None, database, tenant, settings, console=Console(stderr=True))
    finally:
        await database.close()


if __name__ == "__main__":
    asyncio.run(main(msgspec.json.decode(sys.stdin.buffer.read())))
