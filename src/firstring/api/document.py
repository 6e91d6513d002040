"""The OpenAPI document (3.1) at /schema/openapi.json: what the framework derives from the handlers, completed by the
bodies that are read in two encodings, by the one error shape, and by examples."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, OpenAPI, Operation, PathItem, SecurityScheme

from firstring import __version__
from firstring.api.errors import ErrorBody
from firstring.channels.voice.contract import CallEvent, CallOffer, RouteAnswer

FORM: Final = "application/x-www-form-urlencoded"
JSON: Final = "application/json"
OPEN_PATHS: Final = ("/healthz", "/readyz", "/metrics")
"""What needs no token."""

_ABOUT_TOKENS: Final = "An API token (`firstring token --role ...`); for POST /v1/events a write key will do."


def openapi_config() -> OpenAPIConfig:
    """What the framework needs to know. A new one for each application: it is completed in place."""
    token = SecurityScheme(type="http", scheme="bearer", description=_ABOUT_TOKENS)
    return OpenAPIConfig(
        title="Firstring",
        version=__version__,
        description="Who is calling, how sure that is, and who should serve them. Errors have one shape: ErrorBody.",
        path="/schema",
        render_plugins=[JsonRenderPlugin()],
        components=Components(security_schemes={"token": token}),
        security=[{"token": []}],
        create_examples=False,
    )


_ERRORS: Final = {
    400: "The request does not fit: correct it.",
    401: "The token is missing, not known or revoked.",
    403: "The token's role may not do that.",
    404: "There is nothing of this id.",
    409: "It cannot be done in the present state.",
    410: "It is not there any more.",
    413: "The body is too large.",
    429: "More events than may be sent at a time: come again after Retry-After.",
    500: "Something failed here: an operator has to look.",
    503: "Not now: the same call may succeed later.",
}
_CONFLICTING: Final = (
    "/evidence", "/revoke", "/unmerge", "/held", "/decisions/links", "/review/next", "/review/answers", "/review/effect",
    "/actions/{action}", "/routing/trials", "/trials/{name}/start", "/trials/{name}/stop", "/models/train",
)  # fmt: skip
"""Ends of paths that the present state may forbid."""
_NAMING: Final = (
    "/v1/patterns/switch", "/v1/why", "/v1/held", "/v1/decisions/links", "/v1/review/answers", "/v1/review/answers/undo",
)  # fmt: skip
"""Paths whose body or query names something that may not be there."""
_ALWAYS: Final = (400, 401, 403, 500, 503)
_ERROR_EXAMPLE: Final = {
    "error": {
        "group": "bad_input",
        "code": "unknown_contact",
        "message": "There is no such contact.",
        "where": {"contact": "01890a5d-ac96-774b-bcce-b302099a8057"},
        "hint": "",
    }
}

_EXAMPLES: Final[dict[tuple[str, str], Any]] = {
    ("/v1/decide", "post"): {"call_id": "a84b4c76e66710", "from": "+12025550123", "to": "+12025550100"},
    ("/v1/calls/events", "post"): {"type": "call.answered", "call_id": "a84b4c76e66710"},
    ("/v1/contacts", "post"): {
        "id": "chat-7341",
        "channel": "chat",
        "fields": {"email": "jon.smith@example.com", "full_name": "Jon Smith"},
        "language": "en",
        "intent": "refund",
    },
    ("/v1/contacts/{contact_id}/events", "post"): {"what": "finished", "outcome": "resolved"},
    ("/v1/contacts/{contact_id}/evidence", "post"): {"fields": {"account": "4711-0042"}, "intent": "refund"},
    ("/v1/contacts/{contact_id}/direct", "post"): {"because": "cut off before", "points": 10, "note": "Refund is sent"},
    ("/v1/contacts/{contact_id}/transfer", "post"): {"because": "it is about a claim", "intent": "claim"},
    ("/v1/contacts/{contact_id}/callback", "post"): {"phone": "+12025550123"},
    ("/v1/resolve", "post"): {"fields": {"phone": "+12025550123", "full_name": "Jon Smith"}},
    ("/v1/conflicts/{conflict_id}", "post"): {"value": "1970-05-06", "by": "Eve Fox", "because": "passport seen"},
    ("/v1/review/answers", "post"): {"question_id": 17, "answer": "household", "by": "Eve Fox"},
    ("/v1/review/answers/undo", "post"): {"by": "Eve Fox"},
    ("/v1/persons/{person_id}/actions/{action}", "post"): {"by": "Eve Fox"},
    ("/v1/patterns", "post"): {
        "declarations": "{id: two_calls, title: Two calls, within: 7d, match: {event: Call Started, count: 2}}",
        "by": "Eve Fox",
        "dry": True,
    },
    ("/v1/patterns/switch", "post"): {"patterns": ["two_calls"], "on": True, "by": "Eve Fox"},
    ("/v1/routing/models/train", "post"): {"by": "Eve Fox"},
    ("/v1/routing/models/{version}/use", "post"): {"by": "Eve Fox"},
    ("/v1/routing/trials", "post"): {
        "plan": "name = 'continuity'\nmetric = 'success'\n[treatment]\ncontinuity_s = 300\n",
        "by": "Eve Fox",
        "mean": 0.7,
        "per_day": 2000.0,
    },
    ("/v1/routing/trials/{name}/start", "post"): {"by": "Eve Fox"},
    ("/v1/routing/trials/{name}/stop", "post"): {"by": "Eve Fox", "because": "it is enough"},
    ("/v1/segments", "post"): {
        "declarations": "{id: leeds, title: In Leeds, where: has(person.city) && person.city == 'Leeds'}",
        "by": "Eve Fox",
    },
    ("/v1/held", "post"): {"left_person": 4, "right_person": 9, "accept": False, "by": "Eve Fox", "because": "a namesake"},
    ("/v1/decisions/links", "post"): {
        "kind": "cannot",
        "left": "crm:1001",
        "right": "crm:1002",
        "by": "Eve Fox",
        "because": "twins",
    },
    ("/v1/decisions/links/{decision_id}/revoke", "post"): {"by": "Eve Fox", "because": "a mistake"},
    ("/v1/persons/{person_id}/unmerge", "post"): {"record": "crm:1002", "by": "Eve Fox", "because": "not hers"},
    ("/v1/records", "post"): {
        "source": "crm",
        "records": [
            {"record_id": "1001", "full_name": "Jon Smith", "phone": ["+12025550123"], "tier": "vip", "plan": "gold"}
        ],
    },
    ("/v1/events", "post"): {
        "source": "crm",
        "batch": [
            {
                "type": "track",
                "event": "Refund Requested",
                "messageId": "m-1",
                "userId": "1001",
                "properties": {"order_id": "1042"},
            }
        ],
    },
    ("/v1/events/rejected/resend", "post"): {
        "ids": [17],
        "mended": {"17": {"type": "track", "event": "Order Completed", "userId": "1001", "messageId": "m-2"}},
    },
    ("/v1/agents", "post"): {
        "name": "Ann Lee",
        "address": "sip:ann@agents.example",
        "skills": {"billing": 3},
        "languages": {"en": 5},
    },
    ("/v1/agents/{agent_id}", "put"): {"name": "Ann Lee", "address": "sip:ann@agents.example", "languages": {"en": 5}},
    ("/v1/agents/{agent_id}/presence", "post"): {"presence": "ready"},
}

_AGENT: Final = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 200},
        "address": {"type": "string", "description": "SIP URI; needed by an agent who serves voice."},
        "skills": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 1, "maximum": 5}},
        "languages": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 1, "maximum": 5}},
        "tiers": {"type": "array", "items": {"type": "string"}, "maxItems": 20},
        "channels": {
            "type": "array",
            "items": {"enum": ["voice", "chat", "email", "web", "messaging", "social", "mobile"]},
        },
        "capacity": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0, "maximum": 50}},
    },
    "additionalProperties": False,
}


def complete(document: OpenAPI) -> None:
    """Completes the framework's document in place: only machines' paths, our errors, our examples."""
    assert document.components is not None
    assert document.paths is not None
    schemas: dict[str, Any] = document.components.schemas
    _, ours = msgspec.json.schema_components(
        [ErrorBody, CallOffer, CallEvent, RouteAnswer], ref_template="#/components/schemas/{name}"
    )
    schemas.update(ours)
    schemas["AgentBody"] = _AGENT
    for path in [path for path in document.paths if not (path.startswith("/v1/") or path in OPEN_PATHS)]:
        del document.paths[path]
    for path, item in document.paths.items():
        for method in ("get", "post", "put"):
            operation: Operation | None = getattr(item, method)
            if operation is not None:
                _errors(path, operation)
                _body(path, method, operation)
    _two_encodings(document.paths["/v1/decide"], "CallOffer")
    _two_encodings(document.paths["/v1/calls/events"], "CallEvent")
    _content(document.paths["/v1/contacts/{contact_id}/route"].get, 200, {JSON: {"schema": _ref("RouteAnswer")}})
    _content(document.paths["/metrics"].get, 200, {"text/plain": {"schema": {"type": "string"}}})


def _errors(path: str, operation: Operation) -> None:
    """Replaces the framework's own errors by ours."""
    responses: dict[str, Any] = operation.responses  # type: ignore[assignment]
    for status in [status for status in responses if int(status) >= 400 and path not in OPEN_PATHS]:
        del responses[status]
    responses.pop("400", None)
    possible = [500] if path in OPEN_PATHS else [*_ALWAYS]
    if "{" in path or path in _NAMING:
        possible.append(404)
    if path.endswith(_CONFLICTING) or path == "/v1/conflicts/{conflict_id}":
        possible.append(409)
    if path == "/v1/decide" or operation.request_body is not None:
        possible.append(413)
    if path == "/v1/changes":
        possible.append(410)
    if path == "/v1/events":
        possible.append(429)
    media = {"schema": _ref("ErrorBody"), "example": _ERROR_EXAMPLE}
    for code in sorted(possible):
        responses[str(code)] = {"description": _ERRORS[code], "content": {JSON: media}}


def _body(path: str, method: str, operation: Operation) -> None:
    example = _EXAMPLES.get((path, method))
    if operation.request_body is None or example is None:
        return
    media: Any = operation.request_body.content[JSON]  # type: ignore[union-attr]
    schema = _ref("AgentBody") if path in ("/v1/agents", "/v1/agents/{agent_id}") else media.schema
    operation.request_body.content = {JSON: {"schema": schema, "example": example}}  # type: ignore[union-attr]


def _two_encodings(item: PathItem, schema: str) -> None:
    assert item.post is not None
    path = "/v1/decide" if schema == "CallOffer" else "/v1/calls/events"
    media = {"schema": _ref(schema), "example": _EXAMPLES[(path, "post")]}
    item.post.request_body = {"required": True, "content": {JSON: media, FORM: media}}  # type: ignore[assignment]
    answers = {JSON: {"schema": _ref("RouteAnswer")}, FORM: {"schema": {"type": "object"}}}
    _content(item.post, 200, answers)


def _content(operation: Operation | None, status: int, content: dict[str, Any]) -> None:
    assert operation is not None
    assert operation.responses is not None
    response: Any = operation.responses[str(status)]
    response.content = content


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
