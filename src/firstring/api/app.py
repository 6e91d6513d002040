"""The HTTP application: /v1 for machines, the desk for people, the operators' pages."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from firstring import limits
from firstring.api.access import Tokens, provide_caller
from firstring.api.actions import ActionsController
from firstring.api.agents import AgentsController
from firstring.api.changes import ChangesController
from firstring.api.contacts import ContactsController
from firstring.api.document import complete, openapi_config
from firstring.api.errors import HANDLERS
from firstring.api.house import HouseController
from firstring.api.ingest.door import Door
from firstring.api.ingest.rejected import RejectedController
from firstring.api.links import LinksController
from firstring.api.operating import OperatingController
from firstring.api.patterns import PatternsController
from firstring.api.people import PeopleController
from firstring.api.persons import PersonsController
from firstring.api.profiles import ProfilesController
from firstring.api.review import ReviewController
from firstring.api.routing import RoutingController
from firstring.api.segments import SegmentsController
from firstring.api.services import Services
from firstring.api.voice import ROUTE_WAIT_MAX_MS, VoiceController
from firstring.api.web import WebDoor
from firstring.channels.deadline import by_deadline
from firstring.errors import Retryable
from firstring.observe import Metrics
from firstring.store.access import Access

REQUEST_MAX_S: Final = 15.0
"""The longest that a request of /v1 takes; beyond it the caller is told to come again."""
WAITING_MAX_S: Final = ROUTE_WAIT_MAX_MS / 1000.0 + REQUEST_MAX_S
"""The same for a request that waits for a route."""


def create_app(
    services: Services, pages: Sequence[Any] = (), error_handlers: Mapping[Any, Any] = HANDLERS, **page_options: Any
) -> Litestar:
    """The application over running services. `pages` are the desk's route handlers."""
    state = _state(services)
    app = Litestar(
        route_handlers=[
            *Door(services, state.tokens).handlers(),
            *WebDoor(services, state.tokens).handlers(),
            ChangesController,
            LinksController,
            RejectedController,
            OperatingController,
            VoiceController,
            ContactsController,
            HouseController,
            PeopleController,
            PersonsController,
            ProfilesController,
            ActionsController,
            PatternsController,
            SegmentsController,
            ReviewController,
            RoutingController,
            AgentsController,
            *pages,
        ],
        dependencies={
            "services": Provide(lambda: services, sync_to_thread=False),
            "caller": Provide(provide_caller),
        },
        state=state,
        exception_handlers=dict(error_handlers),
        middleware=[_measured(services.metrics)],
        request_max_body_size=limits.BODY_BYTES,
        openapi_config=openapi_config(),
        logging_config=None,  # observe.configure_logs has the last word
        **page_options,
    )
    complete(app.openapi_schema)
    return app


def _state(services: Services) -> State:
    tokens = Tokens(Access(services.database, services.clock), services.clock.monotonic_s)
    return State({"services": services, "tokens": tokens})


async def _bounded(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Requests of machines end in time, also where the database hangs. Pages and their streams are left alone."""
    path = scope["path"]
    if not path.startswith("/v1/"):
        await app(scope, receive, send)
        return
    try:
        await by_deadline(app(scope, receive, send), WAITING_MAX_S if path.endswith("/route") else REQUEST_MAX_S)
    except TimeoutError:
        raise Retryable("database_slow", "PostgreSQL did not answer in time.", hint="Retry; look at its load.") from None


def _route(scope: Scope) -> str:
    """The route of a request. The framework names the template of a route with parameters only."""
    if not scope.get("route_handler"):
        return "unmatched"
    named = scope.get("path_template") if scope.get("path_params") else scope["path"]
    return str(named).rstrip("/") or "/"


def _measured(metrics: Metrics) -> Any:
    """Measures every request by its route (not its path, which may hold ids)."""

    def wrap(app: ASGIApp) -> ASGIApp:
        async def measured(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != ScopeType.HTTP:
                await app(scope, receive, send)
                return
            started = time.perf_counter()
            status = 500

            async def watched(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                    if scope["path"].startswith("/v1/"):  # personal data is kept by nobody on the way (RFC 9111, 5.2.2.5)
                        message["headers"] = [*message["headers"], (b"cache-control", b"no-store")]
                await send(message)

            try:
                await _bounded(app, scope, receive, watched)
            finally:
                metrics.request(_route(scope), status, time.perf_counter() - started)

        return measured

    return wrap
