"""The demonstration: sample customers, a real server, SIP calls, visits to a shop, pops on desks (`firstring demo`)."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final

import httpx

from firstring.demo.carrier import HOST, Carrier, carrier
from firstring.demo.desks import Desk, Desks, signed_in
from firstring.demo.processes import Program, failed, free_port, is_free, start_program
from firstring.demo.props import Props
from firstring.demo.scenes import BUSY, SCENES, TEAM, VISITS
from firstring.demo.show import Show
from firstring.demo.stage import Stage, quietly
from firstring.demo.voice import PhoneSpec, Telephony, Voice, choose_voice, telephony
from firstring.demo.world import (
    SUPERVISOR,
    VISITOR,
    WRAP_UP_S,
    Tokens,
    World,
    demo_home,
    folder_of,
    server_command,
    server_environment,
    settings_file,
    write_settings,
)
from firstring.errors import FirstringError, Retryable
from firstring.observe import configure_logs
from firstring.ports import Clock, SystemClock
from firstring.replay import replay_decisions
from firstring.settings import Settings
from firstring.store.opening import initialise, open_database, start_server
from firstring.store.server import cluster

PORT: Final = 8470
"""Where the desk is while a visitor looks, if nobody has the port."""
START_S: Final = 30.0
VISIT_EVERY_S: Final = 20.0
VISITS_MAX: Final = 200
"""Calls that arrive while a visitor looks; after some hour it is quiet."""
REPLAYED_MAX: Final = 10_000
_LOGINS: Final = (*TEAM, BUSY, VISITOR)
_ENDS_ORDERLY: Final = (FirstringError, httpx.HTTPError, OSError, TimeoutError)
"""What ends a story in an orderly way; anything else is a fault and shows its trace."""


async def run_demo(*, once: bool, as_json: bool, voice: str) -> bool:
    """Runs the story; without `once` it then stays until Ctrl-C. False where a step failed, or it was interrupted early.

    Raises BadInput for a voice that is not there. Whatever was started here has ended when it returns.
    """
    configure_logs("error", sys.stderr)
    chosen = choose_voice(voice)
    show = Show(as_json=as_json)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    story = Story(show, chosen, once=once)
    work = asyncio.create_task(story.run(), name="story")
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            show.say("\nStopping." if story.told else "\nInterrupted: ending what was started.")
            work.cancel()
            await asyncio.wait({work})
    finally:
        stopped.cancel()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(number)
    if not work.cancelled():
        work.result()
    return story.told and show.ok


class Story:
    """One run. `told` once the story is over and its result was shown."""

    def __init__(self, show: Show, voice: Voice, *, once: bool) -> None:
        self.told = False
        self._show = show
        self._voice = voice
        self._once = once
        self._clock: Clock = SystemClock()
        self._started_s = time.perf_counter()
        self._stage: Stage | None = None
        self._address = ""

    async def run(self) -> None:
        async with AsyncExitStack() as stack:
            try:
                settings, world, server, props = await self._set_up(stack)
                await self._scenes(props)
                await self._replay(settings)
            except _ENDS_ORDERLY as error:
                if self._show.ok:  # nobody has told it
                    raise
                self._show.say(str(error))
                self._result()
                return
            self._result()
            if not self._once:
                await self._stay(world, server, props)

    # --- setting up -------------------------------------------------------------------------------------------

    async def _set_up(self, stack: AsyncExitStack) -> tuple[Settings, World, Program, Props]:
        show = self._show
        home = demo_home(os.environ, is_root=os.geteuid() == 0)
        async with show.step("home", "a home of its own") as step:
            await asyncio.to_thread(_prepare, home)
            folder = folder_of(home)
            settings = write_settings(home, {})
            step.detail = str(home)
        async with show.step("database", "PostgreSQL, with keys, tenant and administrator") as step:
            running = await start_server(settings)
            stack.callback(running.release)
            made = (await initialise(settings, self._clock)).made
            opened = await open_database(settings)
            stack.push_async_callback(opened.close)
            tenant = await opened.database.tenant_named(settings.tenant)
            world = World(settings, opened.database, tenant, self._clock)
            await world.open_call_backs()
            step.detail = f"made: {', '.join(made)}" if made else "everything was there"
        async with show.step("telephony", "telephones") as step:
            signer = await stack.enter_async_context(carrier(folder, self._clock.now()))
            line = await stack.enter_async_context(telephony(self._voice, _phones(), folder))
            step.detail = _TELEPHONY[self._voice]
        server = await self._start_server(stack, home, line, signer)
        async with show.step("customers", "sample customers and what they have been through") as step:
            records = await world.load_customers()
            events = await world.load_events()
            step.detail = (
                f"{records.inserted} new records of {records.rows}, {events.stored} new events of {events.rows}, "
                f"{records.rejected + events.rejected} rejected"
            )
            if records.rejected or events.rejected:
                step.problem = f"rows were rejected: see {folder}"
        async with show.step("actions", "what may be done when a pattern comes true") as step:
            actions, patterns = await world.load_actions()
            step.detail = f"{actions} actions, {patterns} patterns"
        async with show.step("agents", "agents with phones and sign-ins") as step:
            count = await world.add_agents(line.phones)
            tokens = await world.make_tokens()
            tidied = await world.tidy()
            step.detail = f"{count} agents and a supervisor"
            step.detail += f"; {tidied} contacts of an earlier run ended" if tidied else ""
        self._stage = await self._connect(stack, world, line, server, tokens)
        return settings, world, server, Props(self._stage, signer, self._clock)

    async def _start_server(self, stack: AsyncExitStack, home: Path, line: Telephony, signer: Carrier) -> Program:
        """Starts `firstring serve`; it becomes ready while the customers are loaded."""
        folder = folder_of(home)
        port = PORT if not self._once and is_free(PORT) else free_port()
        self._address = f"http://{HOST}:{port}"
        values: dict[str, Any] = {
            "listen_host": HOST,
            "listen_port": port,
            "wrap_up_s": WRAP_UP_S,
            "stir_roots_file": str(signer.root_file),
            "stir_private_hosts": [HOST],
            **line.settings,
        }
        write_settings(home, values)
        # The carrier's https server is certified by the trial root; nothing else is fetched in a demonstration.
        environment = {**server_environment(home), "SSL_CERT_FILE": str(signer.root_file)}
        server = start_program(
            "the server", server_command(), log=folder / "server.log", folder=folder, environment=environment
        )
        stack.push_async_callback(server.stop)
        return server

    async def _connect(self, stack: AsyncExitStack, world: World, line: Telephony, server: Program, tokens: Tokens) -> Stage:
        async with self._show.step("server", "the server, its desk and its telephone system") as step:
            client = await stack.enter_async_context(
                httpx.AsyncClient(base_url=self._address, timeout=10.0, trust_env=False)
            )
            await _until_ready(client, server)
            step.detail = self._address
        async with self._show.step("desks", "agents sign in") as step:
            desks = Desks()
            sign_ins = [world.sign_ins[login] for login in (*TEAM, BUSY)]
            stack.push_async_callback(world.leave)
            staff: dict[str, Desk] = await stack.enter_async_context(signed_in(self._address, sign_ins, desks))
            stage = Stage(world, line, desks, staff, client, tokens)
            line.connect(lambda contact, what: quietly(stage.tell(contact, what)))
            await stage.remember()
            step.detail = f"{len(staff)} desks listen for pops"
        return stage

    # --- the story --------------------------------------------------------------------------------------------

    async def _scenes(self, props: Props) -> None:
        stage = props.stage
        for scene in SCENES:
            async with self._show.step(scene.name, scene.title) as step:
                before, said = len(stage.accounts), len(stage.said)
                step.problem = await scene.play(props, scene.title)
                step.detail = " | ".join([*stage.said[said:], *(one.line() for one in stage.accounts[before:])])
                if not before and stage.desks.pops:
                    after_s = stage.desks.pops[0].at_s - self._started_s
                    step.detail += f" (the first pop, {after_s:.1f} s after the start)"

    async def _replay(self, settings: Settings) -> None:
        async with self._show.step("replay", "all stored decisions derived again") as step:
            report = await replay_decisions(settings, last=REPLAYED_MAX)
            step.detail = f"{report.replayed} derived again, {len(report.differences)} differences"
            if report.differences or not report.replayed:
                step.problem = f"{step.detail}: {'; '.join(report.differences[:3])}"

    def _result(self) -> None:
        accounts = self._stage.accounts if self._stage is not None else []
        self._show.table(accounts)
        self._show.result(
            contacts=len(accounts),
            decided=sum(1 for one in accounts if one.decide_ms),
            popped=sum(1 for one in accounts if one.popped),
            decide_ms=self._stage.decide_ms if self._stage is not None else [],
            voice=self._voice,
        )
        self.told = True

    # --- staying ----------------------------------------------------------------------------------------------

    async def _stay(self, world: World, server: Program, props: Props) -> None:
        """Lets a call arrive now and then: on the visitor's desk when they are ready, else on an agent's of ours."""
        home = demo_home(os.environ, is_root=os.geteuid() == 0)
        for line in _invitation(self._address, world, home, props.stage.looked_at):
            self._show.say(line)
        for number in islice(cycle(VISITS), VISITS_MAX):
            await asyncio.sleep(VISIT_EVERY_S)
            if server.exit_code is not None:
                raise failed(server)
            await self._visit(world, props, number)
        self._show.say("No more calls arrive by themselves. Everything else goes on until Ctrl-C.")
        await asyncio.Event().wait()

    async def _visit(self, world: World, props: Props, number: str) -> None:
        is_watched = await world.visitor_free()
        try:
            await props.stage.ready(*(() if is_watched else TEAM))
            call = props.visit(number, hold_ms=8_000 if is_watched else 2_000)
            pick = "" if is_watched else "Elena"
            taken = await props.stage.call("a visit", call, pick=pick)
        except Retryable as error:
            self._show.say(f"- {error}")
        else:
            self._show.say(f"- {taken.account.line()}{f' ({taken.problem})' if taken.problem else ''}")


_TELEPHONY: Final[dict[Voice, str]] = {
    "kamailio": "Kamailio asks by evapi; sipp calls and answers",
    "redirect": "the built-in redirect server; our own small caller and phones",
}


def _prepare(home: Path) -> None:
    """The home as the embedded server wants it, and our folder in it."""
    cluster.prepare_home(home, cluster.find_account())
    folder = folder_of(home)
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)


def _phones() -> dict[str, PhoneSpec]:
    return {login: PhoneSpec(busy=login == BUSY, ring_ms=4_000 if login == VISITOR else 150) for login in _LOGINS}


async def _until_ready(client: httpx.AsyncClient, server: Program) -> None:
    """Until the server takes contacts and its telephone system is connected."""
    for _ in range(int(START_S / 0.05)):
        if server.exit_code is not None:
            raise failed(server)
        try:
            answer = await client.get("/readyz")
            if answer.status_code == 200 and set(answer.json()["adapters"].values()) == {"connected"}:
                return
        except httpx.TransportError:
            pass
        await asyncio.sleep(0.05)
    raise failed(server)


def _invitation(address: str, world: World, home: Path, person_id: int | None) -> Sequence[str]:
    visitor, supervisor = world.sign_ins[VISITOR], world.sign_ins[SUPERVISOR]
    return (
        "",
        f"The desk: {address}",
        f"  as an agent:      {visitor.login} / {visitor.password}   (go ready, and the next call is yours)",
        f"  as a supervisor:  {supervisor.login} / {supervisor.password}",
        f"Who is on the web site, and what they are going through: {address}/live",
        *(
            ()
            if person_id is None
            else (f"What a person has been through (as the supervisor): {address}/person/{person_id}",)
        ),
        f"A call arrives every {VISIT_EVERY_S:.0f} s. Other commands see this world with",
        f"  FIRSTRING_CONFIG={settings_file(home)} firstring resolve phone=+12025550112",
        "Ctrl-C ends everything.",
        "",
    )
