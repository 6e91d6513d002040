"""Self-service, overflow, call-backs and announcements over HTTP, by a policy that the running server reads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.contract.conftest import Rig
from tests.contract.test_api import call, name
from tests.server_rig import error_of

POLICY = """
[routing]
callback_over_s = 5
announce_s = 1
skill_dropped_after_s = 3600
[routing.called.places]
skills = { places = 3 }
[[routing.self_service]]
name = "bot"
address = "sip:bot@pbx.test"
when = "contact.called == 'places'"
success = [99, 1]
[[routing.overflow]]
name = "night"
when = "contact.called == 'night'"
steps = [{ wait_over_s = 1, to = "sip:voicemail@pbx.test" }]
[routing.called.night]
licences = ["nobody has this"]
"""


@pytest.fixture(scope="module", autouse=True)
def policy(api: Rig) -> Iterator[None]:
    path = api.home.path / "routing.toml"
    path.write_text(POLICY)
    for _ in range(100):
        answer = decide(api, "places")
        done(api, answer)
        if answer["routes"] and answer["routes"][0]["uri"] == "sip:bot@pbx.test":
            break
        time.sleep(0.2)
    yield
    path.unlink()


def decide(api: Rig, called: str) -> dict[str, Any]:
    offer = {"call_id": name(), "from": "+12025550177", "to": called, "adapter_ref": "r", "deadline_ms": 5_000}
    answer = call(api, "post", "/v1/decide", api.tokens["adapter"], json=offer)
    assert answer.status_code == 200, answer.text
    return {**answer.json(), "call_id": offer["call_id"]}


def contact_of(answer: dict[str, Any]) -> str:
    return str(answer["decision"].partition("/")[0])


def done(api: Rig, answer: dict[str, Any]) -> None:
    if answer["decision"]:
        call(api, "post", f"/v1/contacts/{contact_of(answer)}/events", api.tokens["adapter"], json={"what": "finished"})


def test_a_caller_goes_to_the_bot_leaves_it_waits_and_hears_how_it_stands(api: Rig) -> None:
    answer = decide(api, "places")
    contact = contact_of(answer)
    assert answer["routes"][0]["uri"] == "sip:bot@pbx.test"
    place = call(api, "get", f"/v1/contacts/{contact}/place", api.tokens["adapter"]).json()
    assert (place["state"], place["elsewhere"], place["place"]) == ("elsewhere", "bot", None)
    skilled = api.home.agent(channels=["voice"], capacity={"voice": 1}, skills={"places": 4})
    busy = decide(api, "places")
    event = {"type": "call.wants_person", "call_id": busy["call_id"], "adapter_ref": "r", "deadline_ms": 5_000}
    person = call(api, "post", "/v1/calls/events", api.tokens["adapter"], json=event).json()
    assert person["routes"][0]["uri"] == "sip:agent@agents.test"

    left = call(api, "post", f"/v1/contacts/{contact}/person", api.tokens["adapter"])
    assert left.status_code == 200, left.text
    assert (left.json()["outcome"], left.json()["cause"]) == ("wait", "left")
    again = call(api, "post", f"/v1/contacts/{contact}/person", api.tokens["adapter"])
    assert (again.status_code, error_of(again)["code"]) == (409, "not_in_self_service")
    path = f"/v1/contacts/{contact}/route?wait_ms=8000"
    news = call(api, "get", f"{path}&said=0", api.tokens["adapter"]).json()["wait"]
    assert news["place"] == 1
    assert news["low_s"] < news["wait_s"] < news["high_s"]
    assert news["callback_offered"]
    started = time.monotonic()
    quiet = call(api, "get", f"/v1/contacts/{contact}/route?wait_ms=700&said={news['said']}", api.tokens["adapter"]).json()
    assert quiet["wait"]["said"] >= news["said"]
    assert quiet["wait"]["said"] > news["said"] or time.monotonic() - started >= 0.6
    booked = call(api, "post", f"/v1/contacts/{contact}/callback", api.tokens["adapter"], json={"phone": "+12025550199"})
    assert booked.status_code == 200, booked.text
    twice = call(api, "post", f"/v1/contacts/{contact}/callback", api.tokens["adapter"], json={"phone": "+12025550199"})
    assert (twice.status_code, error_of(twice)["code"]) == (409, "callback_booked")
    for one in (answer, busy):
        done(api, one)
    call(api, "post", f"/v1/agents/{skilled}/presence", api.tokens["administrator"], json={"presence": "offline"})


def test_what_nobody_may_serve_is_told_where_to_go_and_why(api: Rig) -> None:
    answer = decide(api, "night")
    contact = contact_of(answer)
    assert answer["wait"]
    pushed = call(api, "get", f"/v1/contacts/{contact}/route?wait_ms=8000", api.tokens["adapter"]).json()
    assert pushed["routes"][0]["uri"] == "sip:voicemail@pbx.test"
    stands = call(api, "get", f"/v1/contacts/{contact}", api.tokens["adapter"]).json()
    assert stands["state"] == "elsewhere"
    [place] = stands["decision"]["routing"]["places"]
    assert place["reasons"][0]["code"] == "nobody_may_serve"
    assert "licence" in place["reasons"][0]["text"] or "signed in" in place["reasons"][0]["text"]
    done(api, answer)
