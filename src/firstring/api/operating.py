"""For operators: is it alive, is it ready, what does it measure. No token: bind it where only they reach it."""

from __future__ import annotations

from typing import Final

import msgspec
from litestar import Controller, MediaType, Response, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec

from firstring import __version__
from firstring.api.services import Services
from firstring.channels.deadline import by_deadline
from firstring.errors import FirstringError

READY_WAIT_S: Final = 1.0
"""How long the database may take to answer before the server counts as not ready."""


class Alive(msgspec.Struct, frozen=True):
    status: str
    version: str


class Ready(msgspec.Struct, frozen=True):
    """database: "ready", or the code of what is wrong. adapters: each voice adapter, "connected" or "not connected"."""

    ready: bool
    stopping: bool
    database: str
    adapters: dict[str, str]


class OperatingController(Controller):
    tags = ("operating",)
    security = ({},)

    @get("/healthz", summary="The process answers")
    async def healthz(self) -> Alive:
        return Alive("alive", __version__)

    @get(
        "/readyz",
        summary="Everything that is needed to take contacts is there",
        responses={503: ResponseSpec(Ready, generate_examples=False, description="Not ready.")},
    )
    async def readyz(self, services: NamedDependency[Services]) -> Response[Ready]:
        """200 when ready; 503 with the parts that are not (a voice adapter is only named)."""
        database = "ready"
        try:
            await by_deadline(services.database.tenants(), READY_WAIT_S)
        except FirstringError as error:
            database = error.code
        except TimeoutError:
            database = "database_slow"
        adapters = {name: "connected" if up else "not connected" for name, up in services.adapters().items()}
        ready = database == "ready" and not services.stopping
        return Response(Ready(ready, services.stopping, database, adapters), status_code=200 if ready else 503)

    @get("/metrics", summary="Prometheus' text format", media_type=MediaType.TEXT)
    async def metrics(self, services: NamedDependency[Services]) -> Response[bytes]:
        for name, up in services.adapters().items():
            services.metrics.adapters.labels(name).set(1 if up else 0)
        return Response(services.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
