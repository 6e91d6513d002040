"""Derives stored decisions again from what they read: the choice exactly, scores within 1e-9."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from firstring.bootstrap import models_of
from firstring.decide import Models, differences, profiles_of, rederive
from firstring.errors import BadInput
from firstring.settings import Settings
from firstring.store.notices import Notices
from firstring.store.opening import database_only
from firstring.store.queries import sql
from firstring.store.ring import RingStore, opened_decision
from firstring.store.usedmodels import models_used

PAGE = 200


@dataclass
class ReplayReport:
    """How many decisions were derived again and where they differ (contact, revision, field)."""

    replayed: int = 0
    other_versions: int = 0
    differences: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {
            "replayed": self.replayed,
            "other_versions": self.other_versions,
            "differences": self.differences,
        }


async def replay_decisions(
    settings: Settings, *, last: int, contact: str = "", progress: Callable[[str], None] = lambda _: None
) -> ReplayReport:
    """The newest `last` decisions of the default tenant, or those of one contact.

    Each is derived with the identity model that it was made with. Decisions of other versions of the tables cannot be
    derived by these; they are counted, not compared.
    """
    try:
        wanted = uuid.UUID(contact) if contact else None
    except ValueError:
        raise BadInput("unknown_contact", "That is no contact's id.", where={"contact": contact[:40]}) from None
    models = models_of(settings)
    by_version: dict[tuple[str, ...], Models | None] = {}
    report = ReplayReport()
    async with database_only(settings, progress) as database:
        tenant = await database.tenant_named(settings.tenant)
        ring = RingStore(database, Notices(database.arguments, "replay"))
        done = 0
        while done < last:
            async with database.transaction(tenant.tenant_id) as connection:
                rows = await connection.fetch(
                    sql("contacts", "decisions"), tenant.tenant_id, wanted, min(PAGE, last - done), done
                )
            for row in rows:
                decision = opened_decision(tenant, row)
                used = await models_used(database, tenant, models, decision.derived.versions, by_version)
                if used is None or decision.derived.versions != used.versions():
                    report.other_versions += 1
                    continue
                profiles = await profiles_of(ring, tenant, decision.read)
                again = rederive(decision, profiles, used)
                name = f"{decision.contact.contact_id}/{decision.revision}"
                report.differences += [f"{name} {line}" for line in differences(decision.derived, again)]
                report.replayed += 1
            done += len(rows)
            if len(rows) < PAGE:
                break
            progress(f"{report.replayed} decisions derived again")
    return report
