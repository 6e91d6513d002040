"""The queue task: gives waiting contacts to agents as capacity frees, and takes back what nobody took.

Every server process runs one; a lease per tenant elects who acts, and its epoch is checked inside every claim, so a
stopped and resumed leader can do no harm. Whoever frees capacity or queues a contact sends a notice that wakes it; a
slow tick covers lost notices, relaxing requirements and expiry. Ringing contacts never need it: they claim themselves.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec
import structlog

from firstring.contact import AgentFree, AgentProfile, Channel, Decision
from firstring.decide import Decider, Models
from firstring.errors import FirstringError, Retryable
from firstring.ports import Clock
from firstring.routing.fit.asked import Asked
from firstring.routing.line.guard import Assigned, Guard
from firstring.routing.line.matching import ROWS, Known, There, free_every, known_of, may_now, may_serve, pairs
from firstring.routing.line.queues import Match, Waiting, next_due_in_s, reevaluate
from firstring.routing.may.memo import EligibilityMemo
from firstring.routing.pick.live import Matching, matching_in, settings_of
from firstring.routing.pick.step import line_size

_log = structlog.get_logger("firstring.dispatch")

TICK_S = 0.5
GAP_S = 0.02
"""Between two rounds at least; what wakes the task meanwhile is one round."""
PER_SWEEP = 500
"""Waiting contacts of one channel looked at in one round."""
AT_ONCE = 8
"""Matches decided on at a time."""
LEFT_OUT_S = 30.0
"""A contact that cannot be decided on (its row is damaged) is tried again after this."""
WAKES = frozenset(
    (
        "wait", "presence", "finished", "ended", "cancelled", "defaulted", "busy", "no_answer", "rejected", "expired",
        "transferred",
    )
)  # fmt: skip
"""What may have freed capacity or queued somebody."""


class Queue(Protocol):
    """What the task needs of the store (store.contacts.Contacts)."""

    async def take_lease(self, tenant: Any, name: str) -> int | None: ...

    async def due(self, tenant: Any) -> bool: ...

    async def expired(self, tenant: Any) -> list[tuple[uuid.UUID, str]]: ...

    async def overdue(self, tenant: Any) -> list[uuid.UUID]: ...

    async def waiting(
        self, tenant: Any, at_most: int, channels: Sequence[Channel], *, behind: datetime = ...
    ) -> list[tuple[Waiting, Channel]]: ...

    async def free_agents(self, tenant: Any) -> tuple[dict[Channel, list[AgentFree]], dict[tuple[int, str], int]]: ...

    async def there(self, tenant: Any) -> dict[Channel, There]: ...

    async def assigned(self, tenant: Any, channel: Channel, since: datetime) -> list[Assigned]: ...

    async def event(self, tenant: Any, contact_id: uuid.UUID, what: Any) -> Any: ...


class ProfileReader(Protocol):
    """The other part of the store (store.ring.RingStore)."""

    async def decisions_of(self, tenant: Any, contact_ids: Sequence[uuid.UUID]) -> Mapping[uuid.UUID, Decision]: ...

    async def profiles(self, tenant: Any, agents: Sequence[AgentFree]) -> Mapping[tuple[int, int], AgentProfile]: ...


class _Line:
    """What the task remembers of one channel's line. behind: as far as a long line was looked at."""

    def __init__(self) -> None:
        self.guard = Guard()
        self.behind: datetime | None = None
        self.known: dict[tuple[uuid.UUID, int, str, str], Known] = {}


def matching_from(decision: Decision, models: Models) -> Matching | None:
    """What the pick needs of a contact, out of its newest decision."""
    return matching_in(decision, policy=models.routing, fit=models.fit, live=models.live, key=models.holdout_key)


class Dispatcher:
    """Runs until stopped. `routed` is told of every contact that got an agent, to push the route to its adapter.

    `chores` are done by the elected process beside the rounds (contacts that ended become touches), `quick` ones beside
    those (waits that get long). `store_lost` is told when the store cannot be reached (the embedded server is then started
    again).
    """

    def __init__(
        self,
        queue: Queue,
        profiles: ProfileReader,
        decider: Decider,
        clock: Clock,
        tenants: Callable[[], Awaitable[Sequence[Any]]],
        routed: Callable[[Any, Decision], Awaitable[None]],
        chores: Sequence[Callable[[Any], Awaitable[Any]]] = (),
        quick: Sequence[Callable[[Any], Awaitable[Any]]] = (),
        store_lost: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._queue = queue
        self._profiles = profiles
        self._decider = decider
        self._clock = clock
        self._tenants = tenants
        self._routed = routed
        self._chores = (tuple(chores), tuple(quick))
        self._store_lost = store_lost
        self._left_out: dict[uuid.UUID, float] = {}
        self._lines: dict[tuple[str, Channel], _Line] = {}
        self._memo = EligibilityMemo()
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._at_chores: dict[tuple[str, int], asyncio.Task[None]] = {}

    def due(self, tenant: Any, channel: Channel) -> Mapping[uuid.UUID, float]:
        """Who of a line is due, and since when, as far as this process has looked at it."""
        line = self._lines.get((tenant.name, channel))
        return {} if line is None else dict(line.guard.due_at)

    def heard(self, what: str) -> None:
        """A notice: wakes the task where it may matter. Never blocks."""
        if what in WAKES or what == "resync":
            self._wake.set()

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="dispatcher")

    async def stop(self) -> None:
        """Finishes the sweep that runs, then stops."""
        self._stopping.set()
        self._wake.set()
        if self._task is not None:
            await self._task
            self._task = None
        await asyncio.gather(*self._at_chores.values())

    async def _run(self) -> None:
        pause_s = TICK_S
        whole_round_s = 0.0
        tenants: Sequence[Any] = ()
        while not self._stopping.is_set():
            try:
                async with asyncio.timeout(pause_s):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            pause_s = TICK_S
            is_tick = self._clock.monotonic_s() >= whole_round_s
            try:
                if is_tick:
                    tenants = await self._tenants()
                    whole_round_s = self._clock.monotonic_s() + TICK_S
                for tenant in tenants:
                    if self._stopping.is_set():
                        break
                    pause_s = min(pause_s, await self._round(tenant, whole=is_tick))
            except FirstringError as error:
                _log.warning("sweep_failed", code=error.code)
                if error.code == "database_unavailable" and self._store_lost is not None:
                    await self._store_lost()
            except Exception as error:  # noqa: BLE001 - a fault in one round must not end the queue; logged in full
                _log.exception("sweep_failed", error=type(error).__name__)
            if not self._stopping.is_set():
                await asyncio.sleep(GAP_S)

    async def _round(self, tenant: Any, *, whole: bool) -> float:
        """A sweep, where one is due. A fault in one tenant does not hold up the others; the store's absence does."""
        try:
            return await self.sweep(tenant) if whole or await self._queue.due(tenant) else TICK_S
        except Retryable:
            raise
        except Exception as error:  # noqa: BLE001 - as in _run
            _log.exception("sweep_failed", error=type(error).__name__, tenant=tenant.name)
            return TICK_S

    async def sweep(self, tenant: Any) -> float:
        """One round for one tenant; returns in how many seconds the next requirement relaxes (at most TICK_S)."""
        epoch = await self._queue.take_lease(tenant, "queue")
        if epoch is None:
            return TICK_S
        for contact_id, _state in await self._queue.expired(tenant):
            await self._queue.event(tenant, contact_id, "expired")
        for contact_id in await self._queue.overdue(tenant):
            await self._queue.event(tenant, contact_id, "cancelled")

        due_s = await self._serve_waiting(tenant, epoch)
        self._begin_chores(tenant)
        return due_s

    def _begin_chores(self, tenant: Any) -> None:
        """Beside the rounds, for one of them may wait for an import, and one at a time; the quick ones wait for none."""
        for which, chores in enumerate(self._chores):
            running = self._at_chores.get((tenant.name, which))
            if chores and (running is None or running.done()):
                task = asyncio.create_task(self._do_chores(tenant, chores), name="chores")
                self._at_chores[tenant.name, which] = task

    async def _do_chores(self, tenant: Any, chores: Sequence[Callable[[Any], Awaitable[Any]]]) -> None:
        for chore in chores:
            try:
                await chore(tenant)
            except FirstringError as error:
                _log.warning("chore_failed", code=error.code)
            except Exception as error:  # noqa: BLE001 - as in _run
                _log.exception("chore_failed", error=type(error).__name__)

    async def _serve_waiting(self, tenant: Any, epoch: int) -> float:
        """Gives waiting contacts to free agents; returns in how many seconds the next requirement relaxes."""
        free, places = await self._queue.free_agents(tenant)
        if not free:
            return TICK_S
        now_s = self._clock.monotonic_s()
        self._left_out = {contact: until_s for contact, until_s in self._left_out.items() if until_s > now_s}
        found = await self._queue.waiting(tenant, PER_SWEEP, list(free))
        waiting = [(contact, channel) for contact, channel in found if contact.contact_id not in self._left_out]
        now = self._clock.now()
        models = self._decider.models_of(tenant)
        by_fit = models.asks_who_fits
        there = await self._queue.there(tenant) if by_fit and waiting else {}
        for channel, agents in free.items():
            head = [contact for contact, its_channel in found if its_channel == channel]
            if not head:
                continue
            here = [contact for contact in head if contact.contact_id not in self._left_out]
            profiles = await self._profiles.profiles(tenant, agents)
            line = self._lines.setdefault((tenant.name, channel), _Line())
            if by_fit and channel in there and here:
                matches = await self._by_fit(tenant, line, channel, here, agents, there[channel], models, now)
            else:
                matches = self._by_turn(here, agents, profiles, places, models, now)
            if len(head) == PER_SWEEP:
                taken = {agent for match in matches for agent in match.agents[:1]}
                left = [agent for agent in agents if agent.agent_id not in taken]
                matches += await self._further_back(tenant, line, channel, head, left, profiles, places, models, now)
            served = await self._serve_all(tenant, matches, epoch, is_given=by_fit)
            if served and len(here) > served:
                self._wake.set()  # who had several places free may have one left
        due_s = next_due_in_s([contact for contact, _ in waiting], now)
        return TICK_S if due_s is None else max(0.01, min(TICK_S, due_s))

    def _by_turn(
        self,
        here: Sequence[Waiting],
        agents: Sequence[AgentFree],
        profiles: Mapping[tuple[int, int], AgentProfile],
        places: Mapping[tuple[int, str], int],
        models: Models,
        now: datetime,
    ) -> list[Match]:
        ageing = models.routing.ageing_s_per_point
        return reevaluate(here, agents, profiles, places, now=now, ageing_s_per_point=ageing, memo=self._memo)

    async def _further_back(
        self,
        tenant: Any,
        line: _Line,
        channel: Channel,
        head: Sequence[Waiting],
        agents: Sequence[AgentFree],
        profiles: Mapping[tuple[int, int], AgentProfile],
        places: Mapping[tuple[int, str], int],
        models: Models,
        now: datetime,
    ) -> list[Match]:
        """Agents whom nobody at the head of a long line needs: each round looks one page further, and begins again at its
        end."""
        if not agents:
            return []
        end_of_head = head[-1].turn_at or head[-1].since
        behind = max(line.behind or end_of_head, end_of_head)
        page = await self._queue.waiting(tenant, PER_SWEEP, [channel], behind=behind)
        further = [contact for contact, _ in page if contact.contact_id not in self._left_out]
        line.behind = page[-1][0].turn_at if len(page) == PER_SWEEP else None
        if line.behind is not None:
            self._wake.set()  # until the end of the line was seen
        return self._by_turn(further, agents, profiles, places, models, now)

    async def _by_fit(
        self,
        tenant: Any,
        line: _Line,
        channel: Channel,
        here: Sequence[Waiting],
        agents: Sequence[AgentFree],
        there: There,
        models: Models,
        now: datetime,
    ) -> list[Match]:
        """Who takes whom by what is expected of each pair (routing.line); all is known of contacts near the head only."""
        profiles = await self._profiles.profiles(tenant, [*agents, *there.agents])
        classes = may_serve(here, agents, profiles, now=now, memo=self._memo)
        may = may_now(here, agents, classes, now)
        servable = [contact for contact, row in zip(here, may, strict=True) if row.any()][:ROWS]
        if not servable:
            return []
        everybody = may_serve(here, there.agents, profiles, now=now, memo=self._memo) >= 0
        may_of = {contact.contact_id: row for contact, row in zip(here, everybody, strict=True)}
        found = await self._known(tenant, line, servable, may_of, there, profiles, models, now)
        every_s = free_every(everybody, there, models.live)
        log = await self._queue.assigned(tenant, channel, line.guard.since(here))
        profiles = await self._profiles.profiles(tenant, [AgentFree(one.agent_id, one.version, one.at) for one in log])
        line.guard.follow(
            log,
            here,
            profiles,
            size=line_size(float(every_s.min()), settings_of(models.routing)),
            patience_s=models.live.patience_s(channel),
            memo=self._memo,
            now=now,
        )
        return pairs(line.guard, here, agents, classes, found, profiles, free_every_s=every_s, now=now, memo=self._memo)

    async def _known(
        self,
        tenant: Any,
        line: _Line,
        contacts: Sequence[Waiting],
        may_of: Mapping[uuid.UUID, Any],
        there: There,
        profiles: Mapping[tuple[int, int], AgentProfile],
        models: Models,
        now: datetime,
    ) -> dict[uuid.UUID, Known]:
        """What is known of contacts, worked out once for each revision, model and list of prices."""
        versions = (models.fit.version, models.live.version)
        matchings = {key[:2]: known.matching for key, known in line.known.items()}
        unknown = [one.contact_id for one in contacts if (one.contact_id, one.revision) not in matchings]
        decisions = await self._profiles.decisions_of(tenant, unknown) if unknown else {}
        found: dict[uuid.UUID, Known] = {}
        kept: dict[tuple[uuid.UUID, int, str, str], Known] = {}
        for contact in contacts:
            key = (contact.contact_id, contact.revision, *versions)
            known = line.known.get(key)
            if known is None:
                decision = decisions.get(contact.contact_id)
                matching = matchings.get(key[:2]) if decision is None else self._matching(tenant, decision, models)
                # One whose decision cannot be read, or whose arm is first come, is the population: nobody suits it better.
                matching = matching or Matching(
                    models.fit, models.live, Asked(contact.need.channel), settings=settings_of(models.routing)
                )
                matching = matching._replace(fit=models.fit, live=models.live)
                may = may_of[contact.contact_id]
                known = known_of(contact, matching, may, there, profiles, self._memo, now)
            kept[key] = found[contact.contact_id] = known
        line.known = kept
        return found

    def _matching(self, tenant: Any, decision: Decision, models: Models) -> Matching | None:
        """What the pick needs of a contact, by the policy of its arm where a trial runs."""
        policy = self._decider.policy_of(tenant, decision.contact, models.routing)
        return matching_from(decision, msgspec.structs.replace(models, routing=policy))

    async def _serve_all(self, tenant: Any, matches: Sequence[Match], epoch: int, *, is_given: bool) -> int:
        """Decides on contacts, some at a time; returns how many got an agent."""
        served = 0
        for begin in range(0, len(matches), AT_ONCE):
            some = matches[begin : begin + AT_ONCE]
            tries = (self._serve(tenant, match, epoch, is_given=is_given) for match in some)
            done = await asyncio.gather(*tries, return_exceptions=True)
            for one in done:
                if isinstance(one, BaseException):
                    raise one
            served += sum(one is True for one in done)
        return served

    async def _serve(self, tenant: Any, match: Match, epoch: int, *, is_given: bool) -> bool:
        """Decides one contact anew; whether it got an agent. One that cannot be decided on is left out for a while: the
        others are served.

        is_given: the agent of the match goes first, as all who wait were looked at together.
        """
        contact_id = match.contact_id
        try:
            preferred = (
                match.agents[:1] if is_given else ()
            )  # without one, the contact's own pick goes over all who are free
            decision = await self._decider.again(tenant, contact_id, "capacity", preferred=preferred, epoch=epoch)
            if decision is not None and decision.outcome == "route":
                await self._routed(tenant, decision)
                return True
        except Retryable:
            raise
        except Exception as error:  # noqa: BLE001 - as in _run
            self._left_out[contact_id] = self._clock.monotonic_s() + LEFT_OUT_S
            _log.exception("contact_not_served", error=type(error).__name__, contact=str(contact_id))
        return False
