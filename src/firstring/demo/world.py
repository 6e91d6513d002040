"""The world of the demonstration: its home, its customers and their journeys, its agents and their sign-ins.

Everything lies in a tenant of its own and may be made again: what is there already stays. The people are invented,
their numbers are those set aside for fiction (555-01xx), their mail goes nowhere (example.com, RFC 2606).
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
import tomllib
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from firstring.bulk.importing.events import EventsReport, import_events_file
from firstring.bulk.importing.records import ImportReport, import_file
from firstring.channels.callbacks.opening import FILE as CALLBACKS_FILE
from firstring.contact import AgentProfile
from firstring.demo.website import WriteKey
from firstring.journey.patterns.library import sources as patterns
from firstring.nextbest.decided import Decided
from firstring.nextbest.hours import DAYS
from firstring.nextbest.library import sources
from firstring.ports import Clock
from firstring.routing.may.agents import agent_profile
from firstring.settings import CONFIG, PREFIX, Settings, default_home, load
from firstring.store import callbacks as call_backs
from firstring.store.access import Access, StaffRole, signing_secret
from firstring.store.contacts import ContactLine, Contacts
from firstring.store.database import Database, Tenant
from firstring.store.journey.declared import load as load_patterns
from firstring.store.nextbest.decisions import decision, decisions
from firstring.store.nextbest.policies import load_policy
from firstring.store.notices import Notices
from firstring.store.timers import cancel_timer

TENANT: Final = "demo"
SOURCE: Final = "shop"
"""The name of the system that customers and events come from."""
VISITOR: Final = "agent"
"""The agent that a visitor signs in as; nobody else works as this one."""
SUPERVISOR: Final = "supervisor"
DATA: Final = Path(__file__).with_name("data")
WRAP_UP_S: Final = 20.0
_TOKENS: Final = "demonstration"
_RECENT: Final = 200
_DECISIONS: Final = 5
_DECIDED_S: Final = 10.0
_POLL_S: Final = 0.02
_CALL_BACKS: Final = """# Written by `firstring demo`: its agents call back at any hour.
countries = ["US"]

[hours]
"""


class SignIn(NamedTuple):
    """Somebody at a desk. `agent_id` is None for a supervisor."""

    login: str
    password: str
    agent_id: int | None


class Tokens(NamedTuple):
    """pages: the write key of the shop's pages."""

    adapter: str
    events: str
    pages: WriteKey


def demo_home(environment: Mapping[str, str], *, is_root: bool) -> Path:
    """FIRSTRING_HOME, or a home beside the usual one, so that nothing real is touched."""
    named = environment.get(f"{PREFIX}HOME", "")
    if named:
        return Path(named).expanduser().absolute()
    usual = default_home(environment, is_root=is_root)
    return usual.with_name(f"{usual.name}-demo")


def write_settings(home: Path, values: Mapping[str, Any]) -> Settings:
    """The settings of the demonstration, as a file that any `firstring` command can be pointed at (FIRSTRING_CONFIG)."""
    lines = "".join(
        f"{name} = {json.dumps(value)}\n" for name, value in {"home": str(home), "tenant": TENANT, **values}.items()
    )
    file = settings_file(home)
    file.write_text(f"# Written by `firstring demo` each time it starts.\n{lines}", encoding="utf-8")
    return load(server_environment(home))


def settings_file(home: Path) -> Path:
    return folder_of(home) / "firstring.toml"


def folder_of(home: Path) -> Path:
    """Where the demonstration keeps its own files."""
    return home / "demo"


def server_environment(home: Path) -> dict[str, str]:
    """The environment of this process without settings of any other installation."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return {**kept, CONFIG: str(settings_file(home)), "PYTHONUNBUFFERED": "1"}


def server_command() -> list[str]:
    return [sys.executable, "-m", "firstring.cli", "serve"]


class World:
    """What the story needs of the store, beside the server: loading at the start, looking at contacts afterwards."""

    def __init__(self, settings: Settings, database: Database, tenant: Tenant, clock: Clock) -> None:
        self._settings = settings
        self._database = database
        self._tenant = tenant
        self._clock = clock
        self._access = Access(database, clock)
        self._contacts = Contacts(database, Notices(database.arguments, "demo"), clock, wrap_up_s=WRAP_UP_S)
        self.sign_ins: dict[str, SignIn] = {}
        self.names: dict[int, str] = {}

    def now(self) -> datetime:
        return self._clock.now()

    async def open_call_backs(self) -> None:
        """Call-backs at any hour, in a home that says nothing of it and that nobody else works with."""
        file = self._settings.home / CALLBACKS_FILE
        others = [one for one in await self._database.tenants() if one.name != TENANT]
        if not others and not file.exists():
            days = "".join(f'{day} = ["00:00-24:00"]\n' for day in DAYS)
            file.write_text(_CALL_BACKS + days, encoding="utf-8")

    async def load_customers(self) -> ImportReport:
        """The sample customers through the import."""
        folder = folder_of(self._settings.home)
        return await import_file(
            DATA / "customers.csv",
            SOURCE,
            DATA / "customers.map.toml",
            database=self._database,
            tenant=self._tenant,
            settings=self._settings,
            clock=self._clock,
            rejects_path=folder / "customers.rejects.jsonl",
        )

    async def load_events(self) -> EventsReport:
        """What the customers have been through, as of today: a second run on the same day adds nothing."""
        folder = folder_of(self._settings.home)
        file = folder / "events.jsonl"
        now = self._clock.now()
        text = (DATA / "events.jsonl").read_text("utf-8")
        file.write_text("".join(f"{line}\n" for line in dated(text.splitlines(), now)), encoding="utf-8")
        return await import_events_file(
            file,
            SOURCE,
            database=self._database,
            tenant=self._tenant,
            settings=self._settings,
            clock=self._clock,
            rejects_path=folder / "events.rejects.jsonl",
        )

    async def load_actions(self) -> tuple[int, int]:
        """Puts in force the actions that wait for patterns, and switches the patterns on; how many there are of each."""
        now, by = self._clock.now(), "demo"
        texts = patterns()
        await load_patterns(self._database, self._tenant, texts, by=by, now=now, switch_on=True)
        actions = [*sources("journey"), ("actions.yaml", (DATA / "actions.yaml").read_text("utf-8"))]
        async with self._database.transaction(self._tenant.tenant_id) as connection:
            found = await load_policy(connection, self._tenant, actions, by=by, now=now, origin=by)
        return len(found.actions), len(texts)

    async def acted_on(self, pattern: str, since: datetime) -> Decided | None:
        """The newest decision about a pattern that fired, made since then; waits a moment for one."""
        for _ in range(int(_DECIDED_S / _POLL_S)):
            for line in await decisions(self._database, self._tenant, at_most=_DECISIONS):
                if line.decided_at < since:
                    break
                found = (await decision(self._database, self._tenant, line.decision_id)).decided
                if found.moment.fired == pattern:
                    return found
            await asyncio.sleep(_POLL_S)
        return None

    async def add_agents(self, addresses: Mapping[str, str]) -> int:
        """The agents with the phones of this run, their sign-ins and a supervisor's; new passwords each time."""
        known = {state.profile.name: state.profile.agent_id for state in await self._contacts.agents(self._tenant)}
        staff = {one.login: one.staff_id for one in await self._access.staff(self._tenant)}
        async with asyncio.TaskGroup() as group:  # passwords take their time, and two cores
            group.create_task(self._add_staff(staff, SUPERVISOR, "supervisor", None))
            for login, profile in agents(addresses):
                agent_id, _ = await self._contacts.put_agent(self._tenant, profile, known.get(profile.name))
                await self._contacts.set_presence(self._tenant, agent_id, "offline")
                self.names[agent_id] = profile.name
                group.create_task(self._add_staff(staff, login, "agent", agent_id))
        return len(self.names)

    async def _add_staff(self, known: Mapping[str, int], login: str, role: StaffRole, agent_id: int | None) -> None:
        password = secrets.token_urlsafe(9)
        if login in known:
            await self._access.set_password(self._tenant, known[login], password)
        else:
            await self._access.create_staff(self._tenant, login, password, role, agent_id=agent_id)
        self.sign_ins[login] = SignIn(login, password, agent_id)

    async def make_tokens(self) -> Tokens:
        """Tokens for this run; those of earlier runs end."""
        for token in await self._access.tokens(self._tenant):
            if token.name == _TOKENS and token.revoked_at is None:
                await self._access.revoke_token(self._tenant, token.token_id)
        adapter, _ = await self._access.create_token(self._tenant, "adapter", _TOKENS)
        events, _ = await self._access.create_token(self._tenant, "events", _TOKENS)
        pages, key = await self._access.create_token(self._tenant, "write_key", _TOKENS, SOURCE)
        return Tokens(adapter, events, WriteKey(pages, signing_secret(self._tenant.keys, key.token_id)))

    async def tidy(self) -> int:
        """Ends the contacts that a run before left open when it was stopped."""
        ended = 0
        for line in await self.recent():
            if line.state != "ended":
                await self._contacts.event(
                    self._tenant, line.contact_id, "ended" if line.state == "answered" else "cancelled"
                )
                ended += 1
            if line.assignment_state == "wrap_up" or line.state == "answered":
                await self._contacts.event(self._tenant, line.contact_id, "finished", outcome="no_outcome")
        for promise in await call_backs.listed(self._database, self._tenant, _RECENT):
            if promise.state in ("booked", "offered"):
                await self._take_back(promise.callback_id)
        return ended

    async def _take_back(self, callback_id: uuid.UUID) -> None:
        """A call that was promised is not made any more."""
        async with self._database.transaction(self._tenant.tenant_id) as connection:
            await call_backs.booked(connection, self._tenant, callback_id)
            await call_backs.become(connection, self._tenant, callback_id, "cancelled", self._clock.now())
            await cancel_timer(connection, self._tenant, call_backs.TIMER, str(callback_id))

    async def recent(self) -> list[ContactLine]:
        """The newest contacts, newest first."""
        return await self._contacts.recent(self._tenant, _RECENT)

    async def leave(self) -> None:
        """Nobody works here any more."""
        for agent_id in self.names:
            await self._contacts.set_presence(self._tenant, agent_id, "offline")

    async def visitor_free(self) -> bool:
        """Whether somebody signed in as the visitor's agent, is ready, and has nothing to do."""
        for state in await self._contacts.agents(self._tenant):
            if state.profile.agent_id == self.sign_ins[VISITOR].agent_id:
                return state.presence == "ready" and state.live == 0
        return False


def agents(addresses: Mapping[str, str]) -> list[tuple[str, AgentProfile]]:
    """(login, profile) of every agent, with the SIP address of the phone."""
    found = []
    for raw in tomllib.loads((DATA / "agents.toml").read_text("utf-8"))["agent"]:
        login = raw.pop("login")
        found.append((login, agent_profile({**raw, "address": addresses[login]}, agent_id=0)))
    return found


def dated(lines: list[str], now: datetime) -> list[str]:
    """Events with a time instead of hoursAgo. Their ids name the day: tomorrow they happened a day later."""
    made = []
    for line in lines:
        event: dict[str, Any] = msgspec.json.decode(line)
        at = now - timedelta(hours=event.pop("hoursAgo"))
        event["messageId"] = f"{event['messageId']}-{now.date().isoformat()}"
        event["timestamp"] = at.isoformat()
        made.append(msgspec.json.encode(event).decode())
    return made
