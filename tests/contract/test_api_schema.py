"""The OpenAPI document holds: schemathesis sends what it allows and what it does not, and every answer conforms."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.contract.conftest import Rig
from tests.contract.test_api import OPEN, ROUTES, filled
from tests.server_rig import error_of

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    ignored_auth,
]
EXAMPLES = 12
OPERATIONS = sorted(set(ROUTES) | OPEN)
QUICK = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


@pytest.fixture(scope="module")
def schema(api: Rig) -> Any:
    return schemathesis.openapi.from_url(f"{api.server.url}/schema/openapi.json")


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=lambda part: part)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["allowed", "not_allowed"])
def test_answers_conform(api: Rig, schema: Any, method: str, path: str, mode: GenerationMode) -> None:
    operation = schema[path][method.upper()]
    if mode is GenerationMode.NEGATIVE and not (operation.body or operation.path_parameters or operation.query):
        return  # nothing that could be wrong
    headers = {"Authorization": f"Bearer {api.tokens['administrator']}"}

    @QUICK
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: Any) -> None:
        if "wait_ms" in (case.query or {}):
            case.query["wait_ms"] = 0
        case.call_and_validate(headers=headers, checks=CHECKS)

    check()


def test_the_examples_are_taken(api: Rig) -> None:
    """Every example of a body is a valid one."""
    document = api.client.get("/schema/openapi.json").json()
    seen = 0
    for (method, path), _roles in ROUTES.items():
        body = document["paths"][path][method].get("requestBody")
        if body is None:
            continue
        address = filled(path)
        for kind, media in body["content"].items():
            seen += 1
            options = {"data": media["example"]} if kind.endswith("urlencoded") else {"json": media["example"]}
            answer = api.client.request(
                method, address, headers={"Authorization": f"Bearer {api.tokens['administrator']}"}, **options
            )
            assert answer.status_code in (200, 201, 404, 409), (method, path, answer.text)
            if answer.status_code == 409:
                assert error_of(answer)["code"] in ("outcomes_too_few", "trial_exists"), (
                    "the state forbids it: the body was valid"
                )
            if answer.status_code == 404:
                assert "unknown" in error_of(answer)["code"]
    assert seen >= 13


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
FIELD = st.sampled_from(
    ["phone", "email", "full_name", "birth_date", "account", "cookie", "social", "record_id", "intent", "confirmed_person",
     "ruled_out", "from", "pai", "identity", "call_id", "type", "deadline_ms", "attempt", "fields", "id", "channel", "batch",
     "records", "source", "event", "userId", "timestamp", "properties", "traits", "context", "messageId", "name", "address",
     "skills", "languages", "capacity", "channels", "tiers", "presence", "what", "outcome", "language", "called"]
)  # fmt: skip
HOSTILE = st.dictionaries(FIELD | st.text(max_size=8), JSON, max_size=8)
NESTED = st.builds(
    lambda outer, inner: {**outer, "fields": inner, "batch": [inner], "records": [inner], "source": "crm"}, HOSTILE, HOSTILE
)
BODIES = st.binary(max_size=200) | st.builds(lambda value: json.dumps(value).encode(), HOSTILE | NESTED | JSON)
KINDS = st.sampled_from(["application/json", "application/x-www-form-urlencoded", "text/plain", "multipart/form-data", ""])
POSTS = sorted((method, path) for method, path in ROUTES if method != "get")


@settings(max_examples=400, deadline=None)
@given(route=st.sampled_from(POSTS), body=BODIES, kind=KINDS)
def test_hostile_bodies_are_refused_in_the_one_shape(api: Rig, route: tuple[str, str], body: bytes, kind: str) -> None:
    method, path = route
    address = filled(path)
    headers = {"Authorization": f"Bearer {api.tokens['administrator']}", "Content-Type": kind}
    answer: httpx.Response = api.client.request(method, address, content=body, headers=headers)
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert error_of(answer)["group"] == "bad_input"
