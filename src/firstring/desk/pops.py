"""Pops: what the desks of this process show, kept in step with the store and handed to the browsers that listen.

Two ways lead here. `show` is the quick one: a decision made in this process is rendered from memory and handed over
before the telephone system is answered. `heard` is the certain one: whatever a notice is about, the agent's contacts
are read anew and what differs is sent. A contact is rendered once for each (revision, state).
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Coroutine, Sequence
from datetime import datetime
from typing import Any, Final

import structlog

from firstring.api.services import Services
from firstring.channels.treatments import Treatment
from firstring.contact import Decision
from firstring.desk.board import Worth, read_board, read_worth
from firstring.desk.rendering import Rendering
from firstring.desk.streams import Stream, message
from firstring.desk.views import pop_view
from firstring.errors import BadInput, FirstringError
from firstring.routing.trial.recognise import shown
from firstring.store.access import Access, Session
from firstring.store.board import DAY_KEPT_S, Day, read_day
from firstring.store.contacts import ContactLine, Presence
from firstring.store.database import Tenant
from firstring.store.delivery import Announced
from firstring.store.notices import Notice

_log = structlog.get_logger("firstring.desk")

HANDED_S: Final = 0.025
"""The longest that the answer to the telephone system waits for the desk."""
SHOWN_SOON_S: Final = 0.01
"""A decision of this process is shown by `show` within this; only what is not is read from the store."""
BOARD_PAUSE_S: Final = 0.3
"""A supervisor's board is rendered at most this often."""
WORTH_KEPT_S: Final = 60.0
"""What the matching is worth is found anew at most this often."""
TREATED_PAUSE_S: Final = 1.0
"""What is to be done is read at most this often for one desk."""
AGAIN_S: Final = 0.5
STREAMS_PER_DESK: Final = 8
"""Browsers of one agent; one more ends the oldest."""
READS_AGAIN: Final = 5
RECENT_SHOWN: Final = 50


class Card:
    """One contact on a desk: where it stands, its decision, and both rendered."""

    def __init__(
        self,
        rendering: Rendering,
        line: ContactLine,
        decision: Decision,
        threshold: float,
        treatments: tuple[Treatment, ...] = (),
    ) -> None:
        self.line = line
        self.decision = decision
        self.treatments = treatments
        self.key = card_key(line, decision.revision, treatments)
        view = pop_view(decision, threshold)
        self.person_id = view.people[0].person_id if view.standing == "identified" else None
        values = {"pop": view, "line": line, "key": self.key, "now": decision.decided_at, "treatments": treatments}
        self.pop = rendering.text("pop.html", **values)
        self.entry = rendering.text("entry.html", **values)

    def payload(self) -> dict[str, Any]:
        contact_id = str(self.line.contact_id)
        return {"contact": contact_id, "key": self.key, "entry": self.entry, "pop": self.pop}


def card_key(line: ContactLine, revision: int, treatments: Sequence[Treatment] = ()) -> str:
    """What makes two cards of one contact the same picture."""
    shown = "".join(f".{one.delivery_id.hex[-8:]}" for one in treatments)
    return f"{revision}.{line.state}.{line.assignment_state}{shown}"


class AgentDesk:
    """What the browsers of one agent show. `shows` counts what came by the quick way."""

    def __init__(self, tenant: Tenant, agent_id: int) -> None:
        self.tenant = tenant
        self.agent_id = agent_id
        self.streams: list[Stream] = []
        self.cards: dict[uuid.UUID, Card] = {}
        self.presence: Presence = "offline"
        self.shows = 0
        self.is_stale = True
        self.reading: asyncio.Task[None] | None = None
        self.is_untreated = False
        self.treating: asyncio.Task[None] | None = None
        self.one_reads = asyncio.Lock()
        """An older reading must not be applied after a newer one."""

    def send(self, event: str, data: Any) -> list[asyncio.Future[None]]:
        made = message(event, data)
        return [stream.put(made) for stream in self.streams]


class Board:
    """What the browsers of a tenant's supervisors show."""

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant
        self.streams: list[Stream] = []
        self.html = ""
        self.day = Day()
        self.day_at: datetime | None = None
        self.worth: tuple[Worth, ...] = ()
        self.worth_at: datetime | None = None
        self.weighing: asyncio.Task[None] | None = None
        self.is_stale = True
        self.reading: asyncio.Task[None] | None = None
        self.one_reads = asyncio.Lock()


class Pops:
    """The desks and boards that are open in this process."""

    def __init__(self, services: Services) -> None:
        self.rendering = Rendering()
        self._services = services
        self._access = Access(services.database, services.clock)
        self._desks: dict[tuple[int, int], AgentDesk] = {}
        self._boards: dict[int, Board] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    # --- what happens -----------------------------------------------------------------------------------------

    async def show(self, tenant: Tenant, decision: Decision) -> None:
        """Shows a decision on its agent's desk; returns when it was handed to the sockets, or after HANDED_S.

        Never raises: a desk that cannot be told must not keep the call from ringing.
        """
        if decision.agent_id is None or self._closed:
            return
        desk = self._desks.get((tenant.tenant_id, decision.agent_id))
        if desk is None:
            return
        started = self._services.clock.monotonic_s()
        try:
            sent = self._shown(desk, decision)
            if sent:
                await asyncio.wait(sent, timeout=HANDED_S)
                self._services.metrics.observe("pop", (self._services.clock.monotonic_s() - started) * 1000.0)
        except Exception as error:  # noqa: BLE001 - whatever the desk cannot show, the phone rings
            _log.exception("pop_failed", error=type(error).__name__)
            self._stale(desk)

    def heard(self, notice: Notice) -> None:
        """Something happened, here or in another process. Never blocks."""
        if self._closed:
            return
        if notice.what == "delivery":
            self._decided(notice)
            return
        if notice.what == "resync":
            for desk in self._desks.values():
                self._stale(desk)
                self.treat(desk)
            for board in self._boards.values():
                self._stale_board(board)
            return
        board_of = self._boards.get(notice.tenant_id)
        if board_of is not None:
            self._stale_board(board_of)
        if notice.agent_id is None:
            return
        desk_of = self._desks.get((notice.tenant_id, notice.agent_id))
        if desk_of is None:
            return
        if notice.what in ("route", "keep"):
            asyncio.get_running_loop().call_later(SHOWN_SOON_S, self._stale_unless_shown, desk_of, desk_of.shows)
        else:
            self._stale(desk_of)

    def close(self) -> None:
        """Ends all streams: the browsers connect again, to whatever serves them then."""
        self._closed = True
        self._services.web.pages.close()
        for task in tuple(self._tasks):
            task.cancel()
        open_ones: list[AgentDesk | Board] = [*self._desks.values(), *self._boards.values()]
        for one in open_ones:
            for stream in one.streams:
                stream.close()

    # --- who listens ------------------------------------------------------------------------------------------

    async def desk(self, session: Session) -> AgentDesk:
        """The agent's desk as it is now. Raises as the store does, and BadInput no_agent (403)."""
        agent_id = session.staff.agent_id
        if agent_id is None:
            raise BadInput(
                "no_agent",
                "This sign-in belongs to no agent.",
                hint="An administrator can connect it with an agent.",
                http_status=403,
            )
        key = (session.tenant.tenant_id, agent_id)
        desk = self._desks.get(key) or AgentDesk(session.tenant, agent_id)
        await self._read(desk)
        return desk

    async def may_see(self, session: Session) -> frozenset[int] | None:
        """The persons whose name and page somebody may see: all of them (None), but of an agent those who come into question
        in a contact of theirs. Raises as `desk`."""
        if session.staff.role != "agent":
            return None
        desk = self._desks.get((session.tenant.tenant_id, session.staff.agent_id or 0))
        if desk is None or desk.is_stale or not desk.streams:
            desk = await self.desk(session)
        found: set[int] = set()
        for card in desk.cards.values():
            resolution = shown(card.decision).derived.resolution
            found.update(candidate.person_id for candidate in resolution.candidates)
            if resolution.household is not None:
                found.update(resolution.household.members)
        return frozenset(found)

    async def desk_messages(self, session: Session) -> AsyncIterator[bytes]:
        """Server-sent events for one browser of an agent: the whole state, then what changes."""
        desk = await self.desk(session)
        desk = self._desks.setdefault((desk.tenant.tenant_id, desk.agent_id), desk)
        stream = Stream(lambda: message("state", self.state(desk)))
        if len(desk.streams) >= STREAMS_PER_DESK:
            desk.streams.pop(0).close()
        desk.streams.append(stream)
        self._stale(desk)  # what happened between the read and the registration
        self.treat(desk)

        def left() -> None:
            if stream in desk.streams:
                desk.streams.remove(stream)
            if not desk.streams:
                self._desks.pop((desk.tenant.tenant_id, desk.agent_id), None)

        return self._messages(stream, session, left)

    async def board(self, session: Session) -> Board:
        """The supervisor's board as it is now."""
        board = self._boards.get(session.tenant.tenant_id) or Board(session.tenant)
        await self._read_board(board)
        return board

    async def board_messages(self, session: Session) -> AsyncIterator[bytes]:
        """Server-sent events for one browser of a supervisor."""
        board = await self.board(session)
        board = self._boards.setdefault(session.tenant.tenant_id, board)
        stream = Stream(lambda: message("board", {"now": self._now_ms(), "html": board.html}))
        if len(board.streams) >= 4 * STREAMS_PER_DESK:
            board.streams.pop(0).close()
        board.streams.append(stream)
        self._stale_board(board)

        def left() -> None:
            if stream in board.streams:
                board.streams.remove(stream)
            if not board.streams:
                self._boards.pop(board.tenant.tenant_id, None)

        return self._messages(stream, session, left)

    def state(self, desk: AgentDesk) -> dict[str, Any]:
        """The whole desk, as a browser gets it when it connects."""
        cards = [card.payload() for card in desk.cards.values()]
        return {"now": self._now_ms(), "presence": desk.presence, "cards": cards}

    async def _messages(self, stream: Stream, session: Session, left: Any) -> AsyncIterator[bytes]:
        if self._closed:
            stream.close()
        self._services.metrics.desks.inc()
        try:
            async for data in stream.messages(lambda: self._still_signed_in(session)):
                yield data
        finally:
            self._services.metrics.desks.dec()
            left()

    async def _still_signed_in(self, session: Session) -> bytes | None:
        try:
            await self._access.session(session.cookie)
        except BadInput:
            return message("signed_out", None)
        except FirstringError:
            return None  # the store does not answer: that is no reason to send anybody away
        return None

    def _now_ms(self) -> float:
        return self._services.clock.now().timestamp() * 1000.0

    # --- the quick way ----------------------------------------------------------------------------------------

    def _shown(self, desk: AgentDesk, decision: Decision) -> list[asyncio.Future[None]]:
        contact = decision.contact
        old = desk.cards.get(contact.contact_id)
        if old is not None and old.decision.revision >= decision.revision:
            desk.shows += 1
            return []
        if decision.outcome == "route":
            line = ContactLine(
                contact_id=contact.contact_id,
                channel=contact.channel,
                state="assigned",
                revision=decision.revision,
                priority=decision.derived.routing.need.priority,
                offered_at=contact.offered_at,
                agent_id=desk.agent_id,
                assignment_state="offered",
            )
        elif old is not None:
            line = old.line
        else:
            self._stale(desk)
            return []
        desk.shows += 1
        card = self._card(line, decision, old)
        desk.cards[contact.contact_id] = card
        self.treat(desk)
        return desk.send("card", card.payload())

    def _card(self, line: ContactLine, decision: Decision, old: Card | None = None) -> Card:
        """A card; what is to be done stays on it until that is read anew."""
        card = Card(self.rendering, line, decision, self._services.settings.identify_threshold)
        if old is None or not old.treatments or old.person_id != card.person_id:
            return card
        return Card(self.rendering, line, decision, self._services.settings.identify_threshold, old.treatments)

    # --- what is to be done -----------------------------------------------------------------------------------

    def _decided(self, notice: Notice) -> None:
        """An action was decided: where it is for a screen, or that is not known, the desks of the tenant look."""
        carried = notice.carried
        if isinstance(carried, Announced) and carried.delivery.route != "desk":
            return
        for (tenant_id, _), desk in self._desks.items():
            if tenant_id == notice.tenant_id and desk.cards:
                self.treat(desk)

    def treat(self, desk: AgentDesk) -> None:
        """Reads what is to be done for those whom an agent serves, soon; several reasons make one reading. Never blocks."""
        desk.is_untreated = True
        if desk.treating is None and not self._closed and desk.streams:
            desk.treating = self._spawn(self._treat(desk))

    async def _treat(self, desk: AgentDesk) -> None:
        try:
            while desk.is_untreated and desk.streams:
                desk.is_untreated = False
                persons = sorted({card.person_id for card in desk.cards.values() if card.person_id is not None})
                try:
                    found = await self._services.treatments.shown(desk.tenant, persons)
                except FirstringError as error:
                    _log.warning("treatments_not_read", code=error.code)
                    return
                for contact_id, card in tuple(desk.cards.items()):
                    treatments = found.get(card.person_id or 0, ())
                    if treatments != card.treatments and (card.person_id is None or card.person_id in persons):
                        desk.cards[contact_id] = made = Card(
                            self.rendering, card.line, card.decision, self._services.settings.identify_threshold, treatments
                        )
                        desk.send("card", made.payload())
                await asyncio.sleep(TREATED_PAUSE_S)
        finally:
            desk.treating = None

    # --- the certain way --------------------------------------------------------------------------------------

    def _stale_unless_shown(self, desk: AgentDesk, shows: int) -> None:
        if desk.shows == shows:
            self._stale(desk)

    def _stale(self, desk: AgentDesk) -> None:
        """Reads the desk anew, soon; several reasons make one reading."""
        desk.is_stale = True
        if desk.reading is None and not self._closed:
            desk.reading = self._spawn(self._read_while_stale(desk))

    async def _read_while_stale(self, desk: AgentDesk) -> None:
        try:
            while desk.is_stale and desk.streams:
                try:
                    await self._read(desk)
                except FirstringError as error:
                    _log.warning("desk_not_read", code=error.code)
                    desk.is_stale = True
                    await asyncio.sleep(AGAIN_S)
        finally:
            desk.reading = None

    async def _read(self, desk: AgentDesk) -> None:
        """Reads the agent's contacts and sends what differs."""
        async with desk.one_reads:
            await self._read_and_send(desk)

    async def _read_and_send(self, desk: AgentDesk) -> None:
        """What is shown the quick way meanwhile makes the reading old: it is done again."""
        services = self._services
        for _ in range(READS_AGAIN):
            desk.is_stale = False
            shows = desk.shows
            lines = await services.contacts.of_agent(desk.tenant, desk.agent_id)
            agent = await services.contacts.agent(desk.tenant, desk.agent_id)
            decisions: dict[uuid.UUID, Decision] = {}
            for line in lines:
                card = desk.cards.get(line.contact_id)
                if card is not None and card.decision.revision >= line.revision:
                    decisions[line.contact_id] = card.decision
                    continue
                decision = await services.ring.decision(desk.tenant, line.contact_id)
                if decision is not None:
                    decisions[line.contact_id] = decision
            if shows == desk.shows:
                break
        else:
            desk.is_stale = True
        if agent is not None and agent.presence != desk.presence:
            desk.presence = agent.presence
            desk.send("presence", {"presence": desk.presence})
        self._apply(desk, [line for line in lines if line.contact_id in decisions], decisions)

    def _apply(self, desk: AgentDesk, lines: list[ContactLine], decisions: dict[uuid.UUID, Decision]) -> None:
        for contact_id in desk.cards.keys() - {line.contact_id for line in lines}:
            del desk.cards[contact_id]
            desk.send("gone", {"contact": str(contact_id)})
        for line in lines:
            decision = decisions[line.contact_id]
            card = desk.cards.get(line.contact_id)
            if card is not None and card.key == card_key(line, decision.revision, card.treatments):
                continue
            desk.cards[line.contact_id] = card = self._card(line, decision, card)
            desk.send("card", card.payload())
            self.treat(desk)

    # --- the board --------------------------------------------------------------------------------------------

    def _stale_board(self, board: Board) -> None:
        board.is_stale = True
        if board.reading is None and not self._closed:
            board.reading = self._spawn(self._read_board_while_stale(board))

    async def _read_board_while_stale(self, board: Board) -> None:
        try:
            while board.is_stale and board.streams:
                try:
                    await self._read_board(board)
                except FirstringError as error:
                    _log.warning("board_not_read", code=error.code)
                    board.is_stale = True
                await asyncio.sleep(BOARD_PAUSE_S)
        finally:
            board.reading = None

    async def _read_board(self, board: Board) -> None:
        async with board.one_reads:
            await self._read_and_send_board(board)

    async def _read_and_send_board(self, board: Board) -> None:
        board.is_stale = False
        contacts = self._services.contacts
        now = self._services.clock.now()
        promise_s = self._services.decider.models_of(board.tenant).routing.promise_s
        if board.day_at is None or (now - board.day_at).total_seconds() > DAY_KEPT_S:
            board.day, board.day_at = await read_day(self._services.database, board.tenant, now, promise_s), now
        if board.weighing is None and (board.worth_at is None or (now - board.worth_at).total_seconds() > WORTH_KEPT_S):
            board.weighing = self._spawn(self._weigh(board, now))
        shown = await read_board(self._services, board.tenant, board.day)
        recent = await contacts.recent(board.tenant, RECENT_SHOWN)
        html = self.rendering.text(
            "board.html",
            board=shown,
            worth=board.worth,
            recent=recent,
            promise_s=promise_s,
            names={agent.profile.agent_id: agent.profile.name for agent in shown.agents},
            now=now,
        )
        if html != board.html:
            board.html = html
            made = message("board", {"now": self._now_ms(), "html": html})
            for stream in board.streams:
                stream.put(made)

    async def _weigh(self, board: Board, now: datetime) -> None:
        """What the matching is worth is found beside the board, which does not wait for it."""
        try:
            board.worth = await read_worth(self._services, board.tenant)
        except FirstringError as error:
            _log.warning("worth_not_read", code=error.code)
        finally:
            board.worth_at, board.weighing = now, None
        if board.streams:
            self._stale_board(board)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
