"""A program that is killed with SIGKILL before its nth statement, in the middle of linking. Run by test_arrivals.py.

Arguments: JSON {"connect": {...}, "master_key": hex, "tenant": id, "nth": number}. Exits 0 if there were not as many.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import Any

from tests.integration.test_arrivals import FIRST, crowd
from tests.linked_store import NOW, SOURCE

from firstring.store import queries
from firstring.store.database import Database
from firstring.store.identity.records import apply_records


async def life(plan: dict[str, Any]) -> None:
    database = await Database.open(plan["connect"], bytes.fromhex(plan["master_key"]), connections=2)
    tenant = await database.tenant(plan["tenant"])
    real, seen = queries.load, 0

    def counted(room: str) -> dict[str, str]:
        nonlocal seen
        seen += 1
        if seen == plan["nth"]:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(room)

    queries.load = counted  # type: ignore[assignment]
    await apply_records(database, tenant, SOURCE, crowd(2 * FIRST, 4)[FIRST:], now=NOW)
    await database.close()


if __name__ == "__main__":
    asyncio.run(life(json.loads(sys.argv[1])))
