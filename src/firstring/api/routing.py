"""Who fits, and whether it helps, over HTTP: models, trials, what routing reached, how groups fare."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final, Literal

import msgspec
import structlog
from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, Parameter
from msgspec import Meta

from firstring.api.access import Caller, allow
from firstring.api.patterns import By
from firstring.api.services import Services
from firstring.routing.trial.audit import Audit
from firstring.routing.trial.plan import basis_stated, draft_from_toml
from firstring.routing.trial.regret import Regret
from firstring.store.routing.looking import (
    ModelShown,
    SavedShown,
    TrialShown,
    audit_of,
    model_looked_at,
    saved_of,
    trial_looked_at,
    trial_shown,
    trials_shown,
)
from firstring.store.routing.meters import regret_between
from firstring.store.routing.models import ModelLine, back_to, models
from firstring.store.routing.trials import plan, start, stop, trial

_log = structlog.get_logger("firstring.fit")
TRAIN_MOST: Final = 1_000_000
Days = Annotated[float, Parameter(ge=0.01, le=400.0, description="How many days back.")]
Name = FromPath[str]


class TrainRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """at_most: outcomes, the newest."""

    by: By
    at_most: Annotated[int, Meta(ge=1, le=TRAIN_MOST)] = 100_000


class Training(msgspec.Struct, frozen=True):
    """in_force: the model is trained and in force, under this version; training: it goes on, and will be in the list."""

    state: Literal["in_force", "training"]
    version: str | None = None


class Who(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    by: By


class UsedModel(msgspec.Struct, frozen=True):
    """The version that is in force now: the trained model with its newest update."""

    version: str


class PlanRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """plan: TOML as in docs/trials.md. mean, per_day: the metric's mean and contacts a day where the log does not tell them,
    together and of shares only."""

    plan: Annotated[str, Meta(min_length=1, max_length=20_000)]
    by: By
    mean: Annotated[float, Meta(gt=0.0, lt=1.0)] | None = None
    per_day: Annotated[float, Meta(gt=0.0, le=1e9)] | None = None


class StopRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    by: By
    because: Annotated[str, Meta(min_length=1, max_length=150)]


class Stopped(msgspec.Struct, frozen=True):
    """dropped: it was only planned, and is gone."""

    name: str
    state: Literal["stopped", "dropped"]


class ModelList(msgspec.Struct, frozen=True):
    models: list[ModelLine]


class TrialList(msgspec.Struct, frozen=True):
    trials: list[TrialShown]


class RoutingController(Controller):
    path = "/v1/routing"
    tags = ("routing",)

    # --- who fits -------------------------------------------------------------------------------------------------

    @get("/models", guards=[allow("read")], summary="Models of who fits")
    async def models(self, services: NamedDependency[Services], caller: NamedDependency[Caller]) -> ModelList:
        """Those that were trained, the newest first."""
        async with services.database.transaction(caller.tenant.tenant_id) as connection:
            return ModelList(await models(connection, caller.tenant))

    @get("/models/{version:str}", guards=[allow("read")], summary="One model")
    async def model(self, version: Name, services: NamedDependency[Services], caller: NamedDependency[Caller]) -> ModelShown:
        """What it learned, and whether what it states happens: groups of contacts that came after it was trained."""
        return await model_looked_at(services.database, caller.tenant, version)

    @post("/models/train", guards=[allow()], status_code=200, summary="Trains a model, and puts it in force")
    async def train(
        self, data: JSONBody[TrainRequest], services: NamedDependency[Services], caller: NamedDependency[Caller]
    ) -> Training:
        """In a process beside the server. Where it takes longer than a request may, it goes on."""
        policy = services.decider.models_of(caller.tenant).routing
        version = await services.trainings.train(
            caller.tenant, policy, by=f"{data.by} ({caller.name})", at_most=data.at_most
        )
        return Training("training") if version is None else Training("in_force", version)

    @post("/models/{version:str}/use", guards=[allow()], status_code=200, summary="Puts a model in force again")
    async def use(
        self,
        version: Name,
        data: JSONBody[Who],
        services: NamedDependency[Services],
        caller: NamedDependency[Caller],
    ) -> UsedModel:
        """With its updates. Running servers follow at once."""
        async with services.database.transaction(caller.tenant.tenant_id) as connection:
            newest = await back_to(connection, caller.tenant, version, origin="api")
        _log.info("fit_put_back", tenant=caller.tenant.tenant_id, version=newest, by=caller.token_id)
        return UsedModel(newest)

    # --- trials ---------------------------------------------------------------------------------------------------

    @get("/trials", guards=[allow("read")], summary="Trials")
    async def trials(self, services: NamedDependency[Services], caller: NamedDependency[Caller]) -> TrialList:
        """The newest first, without what they show."""
        return TrialList(await trials_shown(services.database, caller.tenant))

    @post("/trials", guards=[allow()], status_code=200, summary="Plans a trial")
    async def plan(
        self, data: JSONBody[PlanRequest], services: NamedDependency[Services], caller: NamedDependency[Caller]
    ) -> TrialShown:
        """How many contacts and days it takes. Nothing changes until it is started."""
        draft = draft_from_toml(data.plan, base=services.decider.models_of(caller.tenant).routing)
        basis = basis_stated(draft, data.mean, data.per_day)
        now = services.clock.now()
        async with services.database.transaction(caller.tenant.tenant_id) as connection:
            by = f"{data.by} ({caller.name})"
            await plan(connection, caller.tenant, draft, now=now, by=by, basis=basis)
            return trial_shown(await trial(connection, caller.tenant, draft.name))

    @get("/trials/{name:str}", guards=[allow("read")], summary="One trial")
    async def trial(self, name: Name, services: NamedDependency[Services], caller: NamedDependency[Caller]) -> TrialShown:
        """Its guard rails while it runs, the uplift with its interval once it is over, and not before."""
        return await trial_looked_at(services.database, caller.tenant, name, services.clock.now())

    @post("/trials/{name:str}/start", guards=[allow()], status_code=200, summary="Starts a planned trial")
    async def start(
        self,
        name: Name,
        data: JSONBody[Who],
        services: NamedDependency[Services],
        caller: NamedDependency[Caller],
    ) -> TrialShown:
        """One runs at a time. Running servers hear it at once."""
        async with services.database.transaction(caller.tenant.tenant_id) as connection:
            await start(connection, caller.tenant, name, now=services.clock.now(), origin="api")
            found = await trial(connection, caller.tenant, name)
        _log.info("trial_started", tenant=caller.tenant.tenant_id, trial=name, by=caller.token_id)
        return trial_shown(found)

    @post("/trials/{name:str}/stop", guards=[allow()], status_code=200, summary="Stops a trial")
    async def stop(
        self,
        name: Name,
        data: JSONBody[StopRequest],
        services: NamedDependency[Services],
        caller: NamedDependency[Caller],
    ) -> Stopped:
        """All contacts go the usual way at once. One that was only planned is dropped."""
        because = f"{data.because} ({data.by})"
        async with services.database.transaction(caller.tenant.tenant_id) as connection:
            line = await stop(connection, caller.tenant, name, now=services.clock.now(), because=because, origin="api")
        _log.info("trial_stopped", tenant=caller.tenant.tenant_id, trial=name, by=caller.token_id)
        return Stopped(name, "dropped" if line.state == "planned" else "stopped")

    # --- what it is worth -----------------------------------------------------------------------------------------

    @get("/regret", guards=[allow("read")], summary="How much of what was possible routing reached")
    async def regret(self, services: NamedDependency[Services], caller: NamedDependency[Caller], days: Days = 1.0) -> Regret:
        """Expected successes of first come, of the agents who were chosen, of the clairvoyant bound."""
        policy, now = services.decider.models_of(caller.tenant).routing, services.clock.now()
        return await regret_between(services.database, caller.tenant, policy, now - timedelta(days=days), now)

    @get("/saved", guards=[allow("read")], summary="Handle time saved by recognising callers, adjusted")
    async def saved(
        self, services: NamedDependency[Services], caller: NamedDependency[Caller], days: Days = 28.0
    ) -> SavedShown:
        """A trial that withholds recognition from some measures it; this compares those who were not recognised anyway."""
        return await saved_of(services.database, caller.tenant, services.clock.now(), days)

    @get("/audit", guards=[allow("steward")], summary="Outcomes by group of customers and by agent")
    async def audit(
        self,
        services: NamedDependency[Services],
        caller: NamedDependency[Caller],
        days: Days = 28.0,
        protected: Annotated[bool, Parameter(description="Also by gender, age and country, where known.")] = True,
    ) -> Audit:
        """Groups of fewer than 20 contacts are not shown; marked is what differs beyond chance."""
        return await audit_of(
            services.settings, services.database, caller.tenant, services.clock.now(), days, protected=protected
        )
