"""What recognising callers saves, as a trial: by chance nobody is told who calls; everything is as for somebody unknown."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from tests.integration.test_decide import World, world
from tests.making import contact

from firstring.api.contacts import decision_view
from firstring.contact import (
    Assurance,
    Candidate,
    Contact,
    Decision,
    Directions,
    Evidence,
    InTrial,
    Journey,
    OpenIssue,
    Resolution,
    StepUp,
    TouchRead,
)
from firstring.decide import differences, rederive
from firstring.desk.views import pop_view
from firstring.errors import BadInput
from firstring.identity.caller.evidence import gather
from firstring.journey.events import parse_event
from firstring.ports import SystemIds
from firstring.routing.trial.arms import arm_of
from firstring.routing.trial.plan import Basis, draft_from_toml
from firstring.routing.trial.recognise import never_withheld
from firstring.routing.trial.result import counted, measured
from firstring.store.journey.events import ingest
from firstring.store.routing.models import FitWork
from firstring.store.routing.trials import plan, policy_in_force, refresh, rows_between, start, trial, trial_in_force

__all__ = ["world"]

TOML = """
name = "recognise"
metric = "handle_s"
detect = 0.2
[treatment]
recognise = false
"""
ALICE, VIVIAN, CARL = "+12025550141", "+12025550142", "+12025550143"


async def running(world: World, text: str = TOML) -> None:
    """The trial runs, and contacts are decided by it."""
    async with world.database.transaction(world.tenant.tenant_id) as connection:
        draft = draft_from_toml(text)
        await plan(connection, world.tenant, draft, now=world.clock.now(), by="test", basis=Basis(0, 60.0, 400.0, 500.0))
        await start(connection, world.tenant, draft.name, now=world.clock.now(), origin="test")
    await refresh(world.database, world.tenant)
    world.decider._arm_of = lambda tenant, one, base: policy_in_force(tenant, base, one.contact_id, one.offered_at)


async def people(world: World) -> None:
    await world.person("alice", given_name="Alice", family_name="Rivera", phone=[ALICE], language="en")
    await world.person("vivian", given_name="Vivian", family_name="Moss", phone=[VIVIAN], tier="vip")
    await world.person("carl", given_name="Carl", family_name="Stone", phone=[CARL])


async def calls(world: World, number: str, **fields: str) -> Decision:
    made = Contact(
        SystemIds().new(), "voice", world.clock.now(), call_key=str(SystemIds().new()), adapter="api", called="+18005550100"
    )
    return await world.decider.offered(world.tenant, made, gather({"phone": number, **fields}, country="US"))


async def both_arms(world: World, number: str, **fields: str) -> tuple[Decision, Decision]:
    """One call in each arm: (control, treatment)."""
    found: dict[str, Decision] = {}
    while len(found) < 2:
        made = await calls(world, number, **fields)
        assert made.trial is not None
        found[made.trial.arm] = made
        await world.contacts.event(world.tenant, made.contact.contact_id, "cancelled")
    return found["control"], found["treatment"]


async def test_who_it_is_is_found_out_and_nobody_is_told(world: World) -> None:
    await world.agent()
    await people(world)
    await running(world)
    known, withheld = await both_arms(world, ALICE)
    assert (known.derived.recognition, withheld.derived.recognition) == ("shown", "withheld")
    assert known.trial == InTrial("recognise", "control", 0.5)
    assert known.derived.resolution == withheld.derived.resolution, "what was found out stays in the decision"
    assert [one.impostor for one in known.derived.assurances] == [one.impostor for one in withheld.derived.assurances]
    assert known.derived.routing.need.steps[0].requirement.language == "en"
    assert withheld.derived.routing.need.steps[0].requirement.language is None, "of somebody unknown nothing is asked for"
    assert withheld.derived.routing.reasons[0].code == "recognition_withheld"
    assert pop_view(known, 0.9).title == "Alice Rivera"
    shown = pop_view(withheld, 0.9)
    assert (shown.withheld, shown.people, shown.title, shown.sure) == (True, (), "Ask who it is", None)
    for told in (str(shown), msgspec.json.encode(decision_view(withheld)).decode()):
        assert "Alice" not in told
        assert "Rivera" not in told
    for one in (known, withheld):
        stored = await world.ring.decision(world.tenant, one.contact.contact_id, 1)
        assert stored is not None
        assert stored.trial == one.trial
        profiles = await world.ring.profiles(world.tenant, stored.read.agents)
        policy, _ = policy_in_force(world.tenant, world.models.routing, one.contact.contact_id, one.contact.offered_at)
        used = msgspec.structs.replace(world.models, routing=policy)
        assert differences(stored.derived, rederive(stored, profiles, used)) == []


async def test_it_is_never_withheld_where_that_might_hurt(world: World) -> None:
    await world.agent()
    await people(world)
    await running(world)
    now = datetime.now(UTC)
    complaint = {"type": "track", "event": "Complaint Opened", "userId": "carl", "messageId": "m-1", "channel": "email",
                 "timestamp": (now - timedelta(days=2)).isoformat(), "properties": {"complaint_id": "c-1"}}  # fmt: skip
    await ingest(world.database, world.tenant, "crm", [parse_event(complaint, received_at=now)], now=now, country="US")
    for number, fields in ((VIVIAN, {}), (CARL, {}), (ALICE, {"full_name": "Alice Rivera"})):
        for one in await both_arms(world, number, **fields):
            assert one.derived.recognition == "", number
            assert pop_view(one, 0.9).people, number
    stranger = (await both_arms(world, "+12025550199"))[1]
    assert stranger.derived.recognition == "", "nobody is recognised: there is nothing to withhold"


async def test_they_say_who_they_are_and_the_agent_sees_it(world: World) -> None:
    await world.agent()
    await people(world)
    await running(world)
    while (made := await calls(world, ALICE)).derived.recognition != "withheld":
        await world.contacts.event(world.tenant, made.contact.contact_id, "cancelled")
    again = await world.decider.again(
        world.tenant, made.contact.contact_id, "said", change=lambda known: msgspec.structs.replace(known, told=True)
    )
    assert again is not None
    assert again.outcome == "keep"
    assert again.derived.recognition == ""
    assert pop_view(again, 0.9).title == "Alice Rivera"


async def test_the_time_it_saves_is_measured(world: World) -> None:
    """Agents ask for 40 s who it is where nobody is named to them. Planted: 40 s."""
    await world.agent(capacity={"voice": 1})
    await people(world)
    await running(world)
    found = trial_in_force(world.tenant)
    assert found is not None
    chance = random.Random(5)
    for place in range(160):
        made = await calls(world, VIVIAN if place % 8 == 7 else ALICE)
        identity = made.contact.contact_id
        treated = arm_of(found.trial, identity, made.contact.offered_at).treated
        asks_s = 40.0 if not pop_view(made, 0.9).people else 0.0
        assert (asks_s > 0.0) is (treated and place % 8 != 7)
        await world.contacts.event(world.tenant, identity, "answered")
        world.clock.ahead += timedelta(seconds=chance.uniform(50, 110) + asks_s)
        await world.contacts.event(world.tenant, identity, "finished", outcome="resolved")
    work = FitWork(world.database, world.ring._notices, world.clock, lambda _: world.models.routing)
    while not await work.settle(world.tenant):
        pass
    async with world.database.transaction(world.tenant.tenant_id) as connection:
        line = await trial(connection, world.tenant, "recognise")
        assert line.started_at is not None
        rows = await rows_between(connection, world.tenant, line.started_at, world.clock.now())
        flags = await connection.fetch("select withholdable, withheld, recognised from routing_outcome")
    of_trial = counted(line.trial.draft, rows)
    assert (len(rows), len(of_trial)) == (160, 140), "those from whom it is never withheld count for neither arm"
    assert all(flag["recognised"] is not flag["withheld"] for flag in flags)
    effect = measured(line.trial, of_trial, "handle_s")
    assert sum(effect.rows) == 140
    difference = effect.difference
    assert abs(difference.value - 40.0) < 2.3 * (difference.high - difference.value)  # by chance: 4.5 errors
    assert difference.low > 20.0


def test_every_exception_has_its_code() -> None:
    """What would be withheld, changed in one thing at a time."""
    now = datetime.now(UTC)
    sure = Assurance(1, 0.001, "prior", "routine", StepUp("none", ""), "test")
    plain: dict[str, Any] = {
        "contact": contact(), "evidence": Evidence(), "assurances": (sure,), "journeys": (Journey(1),), "touches": (),
        "resolution": Resolution((Candidate(1, 0.97),), 0.03, 0.0, "prior", "t"), "issues_cut": (), "tiers": {"vip": 1},
        "threshold": 0.9,
    }  # fmt: skip
    issue = OpenIssue("complaint", "c-1", now, 1, 1)
    settled = TouchRead(1, 1, 1, "email", "Complaint Opened", now, issue_kind="complaint", issue_ref="c-1", issue_effect=1)
    refund = OpenIssue("refund", "r-1", now, 1, 1)
    checked = msgspec.structs.replace(sure, ask=StepUp("one_time_code", "Send a code."))
    second = Candidate(2, 0.02, profile={"tier": "VIP "})
    for code, changed in (
        ("", {}),
        ("", {"journeys": (Journey(1, open_issues=(refund,)),)}),
        ("not_recognised", {"threshold": 0.98}),
        ("said", {"evidence": Evidence(told=True)}),
        ("said", {"evidence": Evidence(confirmed_person=1)}),
        ("said", {"evidence": Evidence(claims={"family_name": "x"})}),
        ("call_back", {"contact": contact(adapter="callback")}),
        ("directed", {"evidence": Evidence(directions=Directions(points=1))}),
        ("tier", {"resolution": Resolution((Candidate(1, 0.97), second), 0.01, 0.0, "prior", "t")}),
        ("complaint", {"journeys": (Journey(1, open_issues=(issue,)),)}),
        ("complaint", {"touches": (settled,)}),
        ("complaint", {"issues_cut": (1,)}),
        ("step_up", {"assurances": (sure, checked)}),
    ):
        assert never_withheld(**{**plain, **changed}) == code, (code, changed)  # type: ignore[arg-type]


def test_it_is_compared_alone() -> None:
    with pytest.raises(BadInput, match="alone"):
        draft_from_toml(TOML + "continuity_s = 0.0\n")
    with pytest.raises(BadInput) as no_flag:
        draft_from_toml(TOML.replace("false", "0"))
    assert no_flag.value.code == "flag_invalid"
    assert Evidence().told is False
