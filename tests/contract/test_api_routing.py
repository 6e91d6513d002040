"""Who fits and whether it helps, over HTTP: a model is trained and put back, a trial is planned, run and stopped."""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.server_rig import Home, ServerProcess, error_of, serving

from firstring.store.database import Database, Tenant

PLAN = "name = 'known'\nmetric = 'handle_s'\ndetect = 0.2\n[treatment]\nrecognise = false\n"


@pytest.fixture(scope="module")
def home(make_home: Callable[[], Path]) -> Home:
    return Home(make_home())


@pytest.fixture(scope="module")
def server(home: Home) -> Iterator[ServerProcess]:
    with serving(home) as running:
        yield running


def logged(home: Home, agents: list[int], count: int, *, ended: datetime, seconds: float = 100.0) -> None:
    """Contacts that are over: two agents, each good at what the other is bad at."""
    chance = random.Random(count)

    async def work(database: Database, tenant: Tenant) -> None:
        rows = []
        for place in range(count):
            at = ended - timedelta(seconds=20 * (count - place))
            intent, agent = ("refund", "moving")[place % 2], agents[place // 2 % 2]
            good = chance.random() < (0.9 if (intent == "refund") is (agent == agents[0]) else 0.5)
            identity = uuid.uuid4()
            rows.append((tenant.tenant_id, identity, identity, agent, intent, at, at + timedelta(seconds=90),
                         seconds * chance.lognormvariate(0.0, 0.3), good, place % 3 > 0))  # fmt: skip
        async with database.transaction(tenant.tenant_id) as connection:
            await connection.executemany(
                """insert into routing_outcome (tenant_id, contact_id, assignment_id, agent_id, intent, last, known,
                     recognised, channel, last_agent, met, offered_at, waited_s, answered_at, ended_at, handle_s, success,
                     policy, propensity, withholdable)
                   values ($1, $2, $3, $4, $5, true, 0, false, 'voice', false, false, $6, 5, $6, $7, $8, $9, 'test', 1,
                     $10)""",
                rows,
            )

    home.within(work)


def trained(client: Any) -> str:
    """Asked to train until it is: the machine may be busy, and training goes before nobody."""
    made = client.post("/v1/routing/models/train", json={"by": "ann"}).json()
    before = len(client.get("/v1/routing/models").json()["models"]) if made["state"] == "training" else 0
    until_s = time.monotonic() + 60.0
    while made["state"] == "training" and time.monotonic() < until_s:
        models = client.get("/v1/routing/models").json()["models"]
        if len(models) > before:
            return str(models[0]["version"])
        time.sleep(0.2)
    assert made["state"] == "in_force"
    return str(made["version"])


def worked_out(client: Any, path: str) -> Any:
    """Whatever is worked out beside the server; asked again where that was too slow for one request."""
    for _ in range(4):
        answer = client.get(path, params={"days": 2})
        if answer.status_code != 503:
            break
    return answer.json()


def test_a_model_is_trained_looked_at_and_put_back(home: Home, server: ServerProcess) -> None:
    agents = [home.agent(), home.agent()]
    [admin] = home.tokens("administrator")
    with server.client(admin) as client:
        refused = client.post("/v1/routing/models/train", json={"by": "ann"})
        assert (refused.status_code, error_of(refused)["code"]) == (409, "outcomes_too_few")
        logged(home, agents, 600, ended=datetime.now(UTC) - timedelta(hours=5))
        first = trained(client)
        logged(home, agents, 400, ended=datetime.now(UTC))
        shown = client.get(f"/v1/routing/models/{first}").json()
        assert (shown["active"], shown["agents"], shown["outcomes"], shown["newer"]) == (True, 2, 600, 400)
        assert shown["trained_by"].startswith("ann (")
        parts = {part["name"]: part for part in shown["parts"]}
        assert parts["success"]["reasons"] > 0.3, "agents differ by reason"
        groups = parts["success"]["calibration"]
        assert sum(group["outcomes"] for group in groups) == 400
        assert sum(group["low"] <= group["stated"] <= group["high"] for group in groups) >= len(groups) - 2
        second = trained(client)
        assert [one["version"] for one in client.get("/v1/routing/models").json()["models"]] == [second, first]
        assert client.post(f"/v1/routing/models/{first}/use", json={"by": "ann"}).json()["version"] == first
        active = {one["version"]: one["active"] for one in client.get("/v1/routing/models").json()["models"]}
        assert active == {first: True, second: False}
        regret = client.get("/v1/routing/regret", params={"days": 2}).json()
        assert (regret["contacts"], regret["agents"]) == (1_000, 2)
        assert regret["first_come"] < regret["bound"]
        audit = worked_out(client, "/v1/routing/audit")
        assert {group["name"] for group in audit["agents"]} == {str(agent) for agent in agents}
        assert {one["name"] for one in audit["dimensions"] if one["protected"]} == {"gender", "age", "country"}
        saved = worked_out(client, "/v1/routing/saved")
        assert (saved["others"], saved["adjusted"]) == (1_000, None)


def test_a_trial_from_plan_to_end(home: Home, server: ServerProcess) -> None:
    [admin] = home.tokens("administrator")
    with server.client(admin) as client:
        planned = client.post("/v1/routing/trials", json={"plan": PLAN, "by": "ann"}).json()
        assert (planned["state"], planned["metric"], planned["treatment"]) == ("planned", "handle_s", {"recognise": False})
        assert planned["planned_by"].startswith("ann (")
        assert 20 < planned["planned"] < 400
        twice = client.post("/v1/routing/trials", json={"plan": PLAN, "by": "ann"})
        assert (twice.status_code, error_of(twice)["code"]) == (409, "trial_exists")
        started = client.post("/v1/routing/trials/known/start", json={"by": "ann"}).json()
        assert started["state"] == "running"
        runs = client.get("/v1/routing/trials/known").json()
        assert (runs["counted"], runs["result"]) == (0, None)
        assert {guard["metric"]: guard["holds"] for guard in runs["guards"]} == {
            "abandoned": True, "wait_s": True, "complained": True,
        }  # fmt: skip
        assert "salt" not in str(runs), "by what chance is drawn nobody may know beforehand"
        stopped = client.post("/v1/routing/trials/known/stop", json={"by": "ann", "because": "enough"}).json()
        assert stopped == {"name": "known", "state": "stopped"}
        over = client.get("/v1/routing/trials/known").json()
        assert over["stopped_because"] == "enough (ann)"
        assert over["result"]["main"]["metric"] == "handle_s"
        assert over["result"]["main"]["difference"] == {"value": None, "low": None, "high": None}
        again = client.post("/v1/routing/trials/known/stop", json={"by": "ann", "because": "more"})
        assert (again.status_code, error_of(again)["code"]) == (409, "trial_state")
        assert [one["name"] for one in client.get("/v1/routing/trials").json()["trials"]] == ["known"]
        other = PLAN.replace("known", "other")
        client.post("/v1/routing/trials", json={"plan": other, "by": "ann"})
        dropped = client.post("/v1/routing/trials/other/stop", json={"by": "ann", "because": "no"}).json()
        assert dropped["state"] == "dropped"


def test_programs_are_not_told_either_who_it_is_until_they_have_said_it(home: Home, server: ServerProcess) -> None:
    """A trial of what recognising saves, over HTTP: what is told in both arms, and once the caller spoke."""
    home.agent(channels=["chat"], capacity={"chat": 50})
    admin, adapter = home.tokens("administrator", "adapter")
    with server.client(admin) as client:
        record = {"record_id": "r-1", "full_name": "Dana Whitfield", "phone": ["+12025550177"], "account": "4711"}
        imported = client.post("/v1/records", json={"source": "crm", "records": [record]})
        assert imported.status_code == 200, imported.text
        client.post("/v1/routing/trials", json={"plan": PLAN.replace("known", "withheld"), "by": "ann"})
        assert client.post("/v1/routing/trials/withheld/start", json={"by": "ann"}).status_code == 200
    found: dict[str, dict[str, Any]] = {}
    with server.client(adapter) as client:
        for place in range(60):
            offer = {"id": f"chat-{place}", "channel": "chat", "fields": {"phone": "+12025550177"}}
            made = client.post("/v1/contacts", json=offer).json()
            found.setdefault(made["recognition"], made)
            if len(found) == 2:
                break
        assert set(found) == {"shown", "withheld"}
        shown, withheld = found["shown"], found["withheld"]
        assert shown["resolution"]["candidates"][0]["profile"]["full_name"] == "Dana Whitfield"
        assert shown["trial"] == {"name": "withheld", "arm": "control", "probability": 0.5}
        assert withheld["trial"] == {"name": "withheld", "arm": "treatment", "probability": 0.5}
        seen = client.get(f"/v1/contacts/{withheld['contact_id']}").text
        for told in (json.dumps(withheld), seen, client.get(f"/v1/contacts/{withheld['contact_id']}/decisions/1").text):
            assert "Dana" not in told
            assert "Whitfield" not in told
        said = client.post(f"/v1/contacts/{withheld['contact_id']}/evidence", json={"fields": {"account": "4711"}}).json()
        assert said["recognition"] == ""
        assert said["resolution"]["candidates"][0]["profile"]["full_name"] == "Dana Whitfield"
    with server.client(admin) as client:
        client.post("/v1/routing/trials/withheld/stop", json={"by": "ann", "because": "shown"})


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("get", "/v1/routing/models/fit-none", None, 404, "fit_model_unknown"),
        ("post", "/v1/routing/models/fit-none/use", {"by": "ann"}, 404, "fit_model_unknown"),
        ("get", "/v1/routing/trials/none", None, 404, "unknown_trial"),
        ("post", "/v1/routing/trials/none/start", {"by": "ann"}, 404, "unknown_trial"),
        ("post", "/v1/routing/trials", {"plan": "name = 'x'\n[treatment]\nfairnes = 1\n", "by": "a"}, 400, "field_unknown"),
        ("post", "/v1/routing/trials", {"plan": PLAN, "by": "a", "mean": 0.5}, 400, "plan_invalid"),
        ("post", "/v1/routing/trials", {"plan": "= [", "by": "a"}, 400, "toml_invalid"),
        ("post", "/v1/routing/models/train", {"by": "a", "at_most": 0}, 400, None),
        ("get", "/v1/routing/regret?days=0", None, 400, None),
    ],
)
def test_what_cannot_be(
    home: Home, server: ServerProcess, method: str, path: str, body: Any, status: int, code: str | None
) -> None:
    [admin] = home.tokens("administrator")
    with server.client(admin) as client:
        answer = client.request(method, path, **({} if body is None else {"json": body}))
    assert answer.status_code == status, answer.text
    assert code is None or error_of(answer)["code"] == code
