"""The queue task: gives waiting contacts to agents as capacity frees, and takes back what nobody took.

Every server process runs one; a lease per tenant elects who acts, and its epoch is checked inside every claim, so a
stopped and resumed leader can do no harm. Whoever frees capacity or queues a contact sends a notice that wakes it; a
slow tick covers lost notices, relaxing requirements and expiry. Ringing contacts never need it: they claim themselves.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import structlog

from firstring.contact import AgentFree, AgentProfile, Channel, Decision
from firstring.decide import Decider
from firstring.errors import FirstringError, Retryable
from firstring.ports import Clock
from firstring.routing.queues import Waiting, next_due_in_s, reevaluate

_log = structlog.get_logger("firstring.dispatch")

TICK_S = 0.5
GAP_S = 0.02
"""Between two rounds at least; what wakes the task meanwhile is one round."""
PER_SWEEP = 500
"""Waiting contacts of one channel looked at in one round."""
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

    async def waiting(self, tenant: Any, at_most: int, channels: Sequence[Channel]) -> list[tuple[Waiting, Channel]]: ...

    async def free_agents(self, tenant: Any) -> tuple[dict[Channel, list[AgentFree]], dict[tuple[int, str], int]]: ...

    async def event(self, tenant: Any, contact_id: uuid.UUID, what: Any) -> Any: ...


class ProfileReader(Protocol):
    async def profiles(self, tenant: Any, agents: Sequence[AgentFree]) -> Mapping[tuple[int, int], AgentProfile]: ...


class Dispatcher:
    """Runs until stopped. `routed` is told of every contact that got an agent, to push the route to its adapter.

    `chores` are done by the elected process beside the rounds (contacts that ended become touches). `store_lost` is
    told when the store cannot be reached (the embedded server is then started again).
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
        store_lost: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._queue = queue
        self._profiles = profiles
        self._decider = decider
        self._clock = clock
        self._tenants = tenants
        self._routed = routed
        self._chores = tuple(chores)
        self._store_lost = store_lost
        self._left_out: dict[uuid.UUID, float] = {}
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._at_chores: dict[str, asyncio.Task[None]] = {}

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
        """Beside the rounds, for one of them may wait for an import, and one at a time."""
        running = self._at_chores.get(tenant.name)
        if self._chores and (running is None or running.done()):
            self._at_chores[tenant.name] = asyncio.create_task(self._do_chores(tenant), name="chores")

    async def _do_chores(self, tenant: Any) -> None:
        for chore in self._chores:
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
        for channel, agents in free.items():
            here = [contact for contact, its_channel in waiting if its_channel == channel]
            if not here:
                continue
            profiles = await self._profiles.profiles(tenant, agents)
            matches = reevaluate(
                here,
                agents,
                profiles,
                places,
                now=now,
                ageing_s_per_point=self._decider.models.routing.ageing_s_per_point,
            )
            for match in matches:
                await self._serve(tenant, match.contact_id, epoch)
        due_s = next_due_in_s([contact for contact, _ in waiting], now)
        return TICK_S if due_s is None else max(0.01, min(TICK_S, due_s))

    async def _serve(self, tenant: Any, contact_id: uuid.UUID, epoch: int) -> None:
        """Decides one contact anew. One that cannot be decided on is left out for a while: the others are served."""
        try:
            decision = await self._decider.again(tenant, contact_id, "capacity", epoch=epoch)
            if decision is not None and decision.outcome == "route":
                await self._routed(tenant, decision)
        except Retryable:
            raise
        except Exception as error:  # noqa: BLE001 - as in _run
            self._left_out[contact_id] = self._clock.monotonic_s() + LEFT_OUT_S
            _log.exception("contact_not_served", error=type(error).__name__, contact=str(contact_id))
