"""What tests of live patterns ask of the store: events sent, states and firings as they are, and as a replay has them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from firstring.journey.events import Event
from firstring.journey.patterns import Happened, PatternSet, State, patterns_in
from firstring.journey.patterns.reading import happened, milliseconds, moment_of
from firstring.store.database import Database, Tenant
from firstring.store.journey.declared import load
from firstring.store.journey.events import ingest
from firstring.store.journey.firings import Firing
from firstring.store.journey.patternwork import PatternWork
from firstring.store.journey.replaying import households
from firstring.store.journey.states import Kept

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
SHOP = "shop"


class SetClock:
    """A clock that shows what it is told."""

    def __init__(self, now: datetime = T0) -> None:
        self.shown = now

    def now(self) -> datetime:
        return self.shown

    def monotonic_s(self) -> float:
        return self.shown.timestamp()

    def passes(self, **amount: float) -> None:
        self.shown += timedelta(**amount)


class Noted(NamedTuple):
    """A firing, by what makes it the one that it is."""

    pattern: str
    person: int
    at_ms: int
    begun_ms: int
    key: int
    event_id: int


class World:
    """A tenant with patterns on, and a clock."""

    def __init__(self, database: Database, tenant: Tenant, clock: SetClock | None = None) -> None:
        self.database, self.tenant = database, tenant
        self.clock = clock or SetClock()
        self.told: list[Firing] = []
        self.work = PatternWork(database, self.clock, lambda _tenant, firings: self.told.extend(firings))
        self._messages = 0

    async def declare(self, *texts: str, on: bool | None = True) -> None:
        await load(self.database, self.tenant, [("", text) for text in texts], by="ann", now=self.clock.now(), switch_on=on)

    def event(self, user: str, name: str, at: datetime | None = None, **properties: Any) -> Event:
        self._messages += 1
        return Event(
            message_id=f"m{self._messages}",
            type="track",
            name=name,
            channel="web",
            occurred_at=at or self.clock.now(),
            received_at=self.clock.now(),
            record_id=user,
            properties=properties,
        )

    async def send(self, *events: Event) -> None:
        def told(_tenant: Tenant, firings: Sequence[Firing]) -> None:
            self.told.extend(firings)

        result = await ingest(self.database, self.tenant, SHOP, events, now=self.clock.now(), told=told)
        assert result.rejected == ()

    async def happens(self, user: str, name: str, at: datetime | None = None, **properties: Any) -> None:
        await self.send(self.event(user, name, at, **properties))

    async def settle(self) -> None:
        """Everything that is to be done by now is done."""
        for _ in range(200):
            more = await self.work.replays(self.tenant)
            due = await self.work.absences(self.tenant)
            if more is None and (due is None or due > self.clock.now()):
                return
        raise AssertionError("it never ends")

    # --- as it is ------------------------------------------------------------------------------------------------

    async def noted(self, *, retracted: bool = False) -> list[Noted]:
        statement = "retracted_at is not null" if retracted else "retracted_at is null"
        async with self.database.transaction(self.tenant.tenant_id) as connection:
            rows = await connection.fetch(  # what declarations of before have fired stays noted
                f"select f.* from pattern_fired f join pattern p using (tenant_id, number) where p.is_on and {statement}"
            )
        moments = [(milliseconds(row["at"]), milliseconds(row["begun_at"])) for row in rows]
        return sorted(
            Noted(row["pattern"], row["subject_id"], *at, row["same_key"], row["event_id"])
            for row, at in zip(rows, moments, strict=True)
        )

    async def states(self) -> dict[int, bytes]:
        """By person, as of now: what is over by now left out."""
        of_person, _ = await self._sets()
        now_ms = milliseconds(self.clock.now())
        async with self.database.transaction(self.tenant.tenant_id) as connection:
            rows = await connection.fetch("select subject_id, content from pattern_state where kind = 0")
        found = {}
        for row in rows:
            state = of_person.unpacked(Kept.of(row["content"]).content)
            of_person.due(state, now_ms)
            found[row["subject_id"]] = of_person.packed(state, now_ms)
        return {person: content for person, content in found.items() if content}

    # --- as it should be -----------------------------------------------------------------------------------------

    async def _sets(self) -> tuple[PatternSet, PatternSet]:
        async with self.database.transaction(self.tenant.tenant_id) as connection:
            rows = await connection.fetch("select number, declaration from pattern where is_on order by number")
        numbered = [(row["number"], patterns_in(row["declaration"])[0]) for row in rows]
        sets = []
        for home in (False, True):
            some = [(number, one) for number, one in numbered if (one.by == "household") == home]
            sets.append(PatternSet([one for _, one in some], numbers=[number for number, _ in some]))
        return sets[0], sets[1]

    async def log(self) -> dict[int, list[tuple[int, int, Happened]]]:
        async with self.database.transaction(self.tenant.tenant_id) as connection:
            rows = await connection.fetch("select e.*, r.person_id from event e join record r using (tenant_id, record_id)")
        found: dict[int, list[tuple[int, int, Happened]]] = {}
        for row in rows:
            payload = self.tenant.keys.open(row["wrapped_key"], row["sealed"])
            one = happened(payload["name"], row["channel"], row["occurred_at"], payload["properties"])
            found.setdefault(row["person_id"], []).append((one.at_ms, row["event_id"], one))
        return {person: sorted(events, key=lambda one: one[:2]) for person, events in found.items()}

    async def expected(self) -> tuple[dict[int, bytes], list[Noted]]:
        """States and firings by a replay of the log that there is, each firing with its event."""
        of_person, of_household = await self._sets()
        now_ms = milliseconds(self.clock.now())
        logs = await self.log()
        together: dict[int, list[tuple[int, int, Happened]]] = {}
        async with self.database.transaction(self.tenant.tenant_id) as connection:
            for home in await households(connection, self.tenant, logs):
                events = [one for person in home for one in logs.get(person, [])]
                together[min(home)] = sorted(events, key=lambda one: one[:2])
        states, noted = {}, []
        for patterns, of in ((of_person, logs), (of_household, together)):
            for subject, events in of.items():
                state = State()
                found = [(one, event_id) for _, event_id, event in events for one in patterns.step(state, event)]
                found += [(one, 0) for one in patterns.due(state, now_ms)]
                if patterns is of_person and (content := patterns.packed(state, now_ms)):
                    states[subject] = content
                for one, by in found:
                    event_id = 0 if patterns.fires_by_time(one.pattern) else by
                    noted.append(Noted(one.pattern, subject, one.at_ms, one.begun_ms, one.key, event_id))
        return states, sorted(noted)

    async def check(self) -> None:
        """What is stored is what a replay comes to."""
        await self.settle()
        states, noted = await self.expected()
        assert await self.noted() == noted, [str(moment_of(one.at_ms)) for one in noted]
        assert await self.states() == states
