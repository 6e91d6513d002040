"""Whether it helps, and whether it is fair, as pages for supervisors: the audit by group and by agent, trials, models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from litestar import Controller, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, Parameter

from firstring.desk.charts import amount, calibration_chart, interval_bar, metric_name, span
from firstring.desk.signin import HOMES, Room, signed_in
from firstring.routing.trial.audit import SMALL, Audit
from firstring.store.access import Session
from firstring.store.routing.looking import model_looked_at, trial_looked_at, trials_shown
from firstring.store.routing.models import models

SPANS: Final = (7, 28, 90)
"""Days that an audit is of."""
_ROLES: Final = ("supervisor", "administrator")
Days = Annotated[int, Parameter(ge=1, le=400)]


class ProofController(Controller):
    """/supervisor/audit, /supervisor/trials, /supervisor/models: nothing on them names a customer."""

    @get("/supervisor/audit", guards=[signed_in(*_ROLES)])
    async def audit(self, room: NamedDependency[Room], session: NamedDependency[Session], days: Days = 28) -> Response[str]:
        found, at = await room.audits.of(session.tenant, days)
        agents = await room.services.contacts.agents(session.tenant)
        return _page(
            room,
            session,
            "audit.html",
            audit=found,
            at=at,
            days=days,
            spans=SPANS,
            small=SMALL,
            names={str(one.profile.agent_id): one.profile.name for one in agents},
            differing=differing(found, {str(one.profile.agent_id): one.profile.name for one in agents}),
        )

    @get("/supervisor/trials", guards=[signed_in(*_ROLES)])
    async def trials(self, room: NamedDependency[Room], session: NamedDependency[Session]) -> Response[str]:
        found = await trials_shown(room.services.database, session.tenant)
        return _page(room, session, "trials.html", trials=found, trial=None)

    @get("/supervisor/trials/{name:str}", guards=[signed_in(*_ROLES)])
    async def trial(
        self, name: FromPath[str], room: NamedDependency[Room], session: NamedDependency[Session]
    ) -> Response[str]:
        """One trial: guard rails while it runs, the result once it is over, and not before."""
        now = room.services.clock.now()
        one = await trial_looked_at(room.services.database, session.tenant, name, now)
        found = await trials_shown(room.services.database, session.tenant)
        return _page(room, session, "trials.html", trials=found, trial=one)

    @get("/supervisor/models", guards=[signed_in(*_ROLES)])
    async def models(self, room: NamedDependency[Room], session: NamedDependency[Session]) -> Response[str]:
        """The models, with the one in force opened."""
        async with room.services.database.transaction(session.tenant.tenant_id) as connection:
            found = await models(connection, session.tenant)
        active = next((one.version for one in found if one.active), None)
        model = None if active is None else await model_looked_at(room.services.database, session.tenant, active)
        return _page(room, session, "models.html", models=found, model=model)

    @get("/supervisor/models/{version:str}", guards=[signed_in(*_ROLES)])
    async def model(
        self, version: FromPath[str], room: NamedDependency[Room], session: NamedDependency[Session]
    ) -> Response[str]:
        async with room.services.database.transaction(session.tenant.tenant_id) as connection:
            found = await models(connection, session.tenant)
        model = await model_looked_at(room.services.database, session.tenant, version)
        return _page(room, session, "models.html", models=found, model=model)


def differing(audit: Audit, names: Mapping[str, str]) -> list[str]:
    """The groups and agents that differ beyond chance, in words."""
    found = [
        f"{dimension.name} {group.name}: {_by(group.difference)}"
        for dimension in audit.dimensions
        for group in dimension.groups
        if group.differs
    ]
    return found + [f"{names.get(one.name, one.name)}: {_by(one.difference)}" for one in audit.agents if one.differs]


def _by(difference: tuple[float, float, float] | None) -> str:
    assert difference is not None  # what was not judged does not differ
    text = "more" if difference[0] > 0.0 else "less"
    return f"{abs(difference[0]) * 100:.1f} points {text} success than contacts like theirs"


def _page(room: Room, session: Session, template: str, **values: Any) -> Response[str]:
    return room.rendering.page(
        template,
        session=session,
        csrf=session.csrf,
        role=session.staff.role,
        homes=HOMES,
        stream="",
        now=room.services.clock.now(),
        amount=amount,
        span=span,
        metric_name=metric_name,
        interval_bar=interval_bar,
        calibration_chart=calibration_chart,
        **values,
    )
