"""For operators: is it alive, is it ready, what does it measure. No token: bind it where only they reach it."""

from __future__ import annotations

from typing import Any

from litestar import Controller, MediaType, Response, get

from firstring import __version__
from firstring.api.services import Services
from firstring.errors import FirstringError


class OperatingController(Controller):
    tags = ("operating",)

    @get("/healthz", summary="The process answers")
    async def healthz(self) -> dict[str, str]:
        return {"status": "alive", "version": __version__}

    @get("/readyz", summary="Everything that is needed to take contacts is there")
    async def readyz(self, services: Services) -> Response[dict[str, Any]]:
        """200 when ready; 503 with the parts that are not (a voice adapter is only named)."""
        parts: dict[str, Any] = {}
        try:
            await services.database.tenants()
            parts["database"] = "ready"
        except FirstringError as error:
            parts["database"] = error.code
        ready = parts["database"] == "ready" and not services.stopping
        parts["adapters"] = {name: "connected" if up else "not connected" for name, up in services.adapters().items()}
        return Response({"ready": ready, "stopping": services.stopping, **parts}, status_code=200 if ready else 503)

    @get("/metrics", summary="Prometheus' text format", media_type=MediaType.TEXT)
    async def metrics(self, services: Services) -> Response[bytes]:
        return Response(services.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
