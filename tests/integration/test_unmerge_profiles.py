"""After an un-merge everything of a person equals what never merging would have given, whatever happened meanwhile.

Random histories run twice: in one store people are merged and parted again in between, in the other never. In the end golden
records, attributes, traits, consents, open issues, the score, patterns and what went out are compared, person by person.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.following_rig import SHOP, T0, SetClock, World
from tests.linked_store import linked_tenant

from firstring.errors import BadInput
from firstring.identity.canonical.record import canonical_record
from firstring.identity.golden.rules import DEFAULT as DEFAULT_RULES
from firstring.ports import SystemIds, SystemRandom
from firstring.store.database import Database
from firstring.store.identity.decisions import decide_link, revoke_decision
from firstring.store.identity.records import apply_records, delete_records, external_key
from firstring.store.journey.profiles import read_profile
from firstring.store.nextbest.acting import Acting
from firstring.store.nextbest.policies import load_policy, refresh
from firstring.store.notices import Notices

USERS = ("u0", "u1", "u2")
PATTERN = "{id: twice, within: 30d, match: {event: Call Started, count: 2}}"
POLICY = """
policy: {holdout: 0.0}
actions: [{id: note, kind: service, text: Note it, trigger: {patterns: [none_such]}, chance: 0.9, value: 1}]
"""
CITIES = ("Leeds", "York", "Hull")
NAMES = (
    ("Order Completed", {"order_id": "7", "total": 20, "currency": "EUR"}), ("Refund Requested", {"order_id": "7"}),
    ("Order Refunded", {"order_id": "7", "total": 20, "currency": "EUR"}), ("Call Started", {}), ("Page Viewed", {}),
    ("Consent Given", {"purpose": "marketing", "channel": "email"}), ("Consent Withdrawn", {"purpose": "marketing"}),
    ("Payment Failed", {}),
)  # fmt: skip

users = st.sampled_from(USERS)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("record"), users, st.sampled_from(CITIES), st.sampled_from(("", "yes", "no")), st.integers(0, 3)),
        st.tuples(st.just("event"), users, st.sampled_from(NAMES), st.integers(0, 4_000)),
        st.tuples(st.just("event"), users, st.sampled_from(NAMES), st.integers(0, 4_000)),
        st.tuples(st.just("act"), users),
        st.tuples(st.just("merge"), users, users),
        st.tuples(st.just("unmerge"), st.integers(0, 3)),
        st.tuples(st.just("delete"), users),
        st.tuples(st.just("pass"), st.integers(1, 5_000)),
    ),
    min_size=5,
    max_size=18,
)


class History(World):
    """One run of a history; `merges`: whether people are merged and parted in it."""

    def __init__(self, database: Database, tenant: Any, notices: Notices, merges: bool) -> None:
        super().__init__(database, tenant, SetClock())
        self.merges = merges
        self.decisions: list[int] = []
        self.acting = Acting(database, notices, self.clock, SystemIds(), SystemRandom(7))
        self.messages = 0

    async def ready(self) -> None:
        await self.declare(PATTERN)
        async with self.database.transaction(self.tenant.tenant_id) as connection:
            await load_policy(connection, self.tenant, [("", POLICY)], by="t", now=T0, origin="t")
        await refresh(self.database, self.tenant)

    async def does(self, step: Any) -> None:
        now = self.clock.now()
        kind, *rest = step
        if kind == "record":
            user, city, agreed, age = rest
            raw = {
                "record_id": user, "full_name": f"Ann {user.title()}", "city": city, "postcode": f"LS{age} 4AP",
                "shoe_size": str(40 + age), "last_seen": (now - timedelta(days=age)).isoformat(),
            } | ({"consent_marketing_voice": agreed} if agreed else {})  # fmt: skip
            await apply_records(self.database, self.tenant, SHOP, [canonical_record(raw, country="GB")], now=now)
        elif kind == "event":
            user, (name, properties), late = rest
            await self.happens(user, name, now - timedelta(minutes=late), **properties)
        elif kind == "pass":
            self.clock.passes(minutes=rest[0])
        elif kind == "delete":
            await _try(delete_records(self.database, self.tenant, SHOP, [rest[0]], now=now))
        elif kind == "act":
            record = await self.record_of(rest[0])
            if record is not None:
                await self.acting.by_hand(self.tenant, record[1], "note", by="t", record_id=record[0])
        elif kind == "merge" and self.merges:
            left, right = ((SHOP, one) for one in rest)
            decided = decide_link(self.database, self.tenant, "must", left, right, by="t", reason="one", now=now)
            done = await _try(decided)
            if done:
                self.decisions += done.decision_ids
                one, other = [await self.record_of(user) for user in rest]
                assert one is not None
                assert other is not None
                assert one[1] == other[1], "they are one person now"
        elif kind == "unmerge" and self.decisions:
            await self.undo(self.decisions.pop(rest[0] % len(self.decisions)))

    async def undo(self, decision: int) -> None:
        undone = revoke_decision(self.database, self.tenant, decision, by="t", reason="two", now=self.clock.now())
        await _try(undone)

    async def record_of(self, user: str) -> tuple[int, int] | None:
        """(record, person)."""
        async with self.database.transaction(self.tenant.tenant_id) as connection:
            key = external_key(self.tenant.keys, SHOP, user)
            row = await connection.fetchrow("select record_id, person_id from record where external_key = $1", key)
        return None if row is None else (row["record_id"], row["person_id"])

    async def known(self, user: str) -> Any:
        """All that there is of a person, without the store's own numbers."""
        record = await self.record_of(user)
        if record is None:
            return None
        found = await read_profile(self.database, self.tenant, record[1], now=self.clock.now(), rules=DEFAULT_RULES)
        assert found.person_id == record[1]
        async with self.database.transaction(self.tenant.tenant_id) as connection:
            went = await connection.fetch(
                "select d.action, d.decided_at, d.outcome from action_decision d join record r using (tenant_id, record_id)"
                " where r.person_id = $1 order by d.decided_at", record[1],
            )  # fmt: skip
        return {
            "records": found.records,
            "profile": found.attributes.profile(),
            "attributes": [(name, field.values[0].value) for name, field in sorted(found.attributes.attributes.items())],
            "traits": [(one.name, one.value) for one in found.traits.traits],
            "consents": [(one.purpose, one.channel, one.given, one.at) for one in found.consents.words],
            "issues": [(one.kind, one.ref, one.opened_at) for one in found.issues],
            "experience": None if found.experience is None else found.experience.score,
            "patterns": [(one.pattern, one.at) for one in found.patterns],
            "counts": msgspec.to_builtins(found.counts),
            "went_out": [tuple(row) for row in went if row["outcome"] == "acted"],
        }


async def _try(work: Any) -> Any:
    """What is refused (a record that is not there, a decision of its own) changes nothing."""
    try:
        return await work
    except BadInput:
        return None


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=steps)
@example(
    history=[
        ("merge", "u0", "u1"),
        ("record", "u1", "York", "no", 2),
        ("event", "u0", NAMES[1], 30),
        ("event", "u1", NAMES[3], 20),
        ("event", "u0", NAMES[3], 10),
        ("act", "u0"),
        ("merge", "u1", "u2"),
        ("event", "u2", NAMES[6], 5),
        ("unmerge", 0),
        ("event", "u1", NAMES[2], 1),
    ]
)
async def test_everything_is_as_if_they_had_never_been_merged(database: Database, notices: Notices, history: Any) -> None:
    merged = History(database, await linked_tenant(database), notices, True)
    never = History(database, await linked_tenant(database), notices, False)
    first = [("record", user, city, "", 1) for user, city in zip(USERS, CITIES, strict=True)]
    for one in (merged, never):
        await one.ready()
        for step in (*first, *history):
            await one.does(step)
    while merged.decisions:
        await merged.undo(merged.decisions.pop())
    for one in (merged, never):
        await one.settle()
    for user in USERS:
        assert await merged.known(user) == await never.known(user), user
