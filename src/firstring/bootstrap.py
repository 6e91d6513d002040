"""Wires the rooms to their adapters; alone in seeing everything.

`running` opens one server's parts in order and closes them in reverse: first nothing new is accepted, then what was
accepted is finished, then the store is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec
import structlog
from cryptography.x509 import Certificate

from firstring import limits
from firstring.api.app import create_app
from firstring.api.ingest.flow import EventFlow
from firstring.api.services import Services
from firstring.bulk.versions.driftwatch import DriftWatch, look_aside
from firstring.bulk.versions.settlewatch import SettleWatch
from firstring.channels.announcing import Announcer
from firstring.channels.callbacks.calling import CallBacks
from firstring.channels.callbacks.opening import FILE as CALLBACKS_FILE
from firstring.channels.callbacks.opening import opening_from_file
from firstring.channels.calls import Calls, CallSettings
from firstring.channels.certificates import CertificateCache
from firstring.channels.contact_log import ContactLog
from firstring.channels.delivery_log import DeliveryLog
from firstring.channels.house import House
from firstring.channels.outbound.carrier import Carrier
from firstring.channels.outbound.feeds import FeedSender
from firstring.channels.outbound.guarded import GuardedPoster, checked_address
from firstring.channels.outbound.mail import MailOutbound
from firstring.channels.outbound.port import Outbound
from firstring.channels.outbound.webhook import WebhookOutbound
from firstring.channels.signatures import SignatureVerifier
from firstring.channels.treatments import Treatments
from firstring.channels.voice.kamailio import KamailioAdapter
from firstring.channels.voice.redirect import RedirectServer
from firstring.channels.web.channel import WebChannel
from firstring.channels.web.pages import Pages
from firstring.contact import Contact, Decision, InTrial
from firstring.decide import Decider, Models
from firstring.desk.pages import desk_pages
from firstring.desk.pops import Pops
from firstring.desk.signin import page_handlers
from firstring.dispatch import Dispatcher
from firstring.errors import BadInput, FirstringError
from firstring.identity.caller.weights import Weights
from firstring.identity.golden.rules import RULES_FILE, rules_from_file
from firstring.journey.words.reading import warm as ready_words
from firstring.nextbest.library import BUILT_IN
from firstring.observe import Metrics
from firstring.ports import Clock, Ids, SystemClock, SystemIds, SystemRandom
from firstring.routing.declared.policy import RoutingPolicy, policy_from_file
from firstring.settings import Settings
from firstring.store.callbacks import TIMER as CALLBACK_TIMER
from firstring.store.contacts import Contacts
from firstring.store.database import Database, Tenant
from firstring.store.identity.arrivals import Arrivals
from firstring.store.identity.hygiene import Hygiene
from firstring.store.journey.firings import Firings
from firstring.store.journey.intake import EventIntake
from firstring.store.journey.patternwork import PatternWork
from firstring.store.journey.reasoning import with_reasons
from firstring.store.journey.restitching import restitch
from firstring.store.nextbest.acting import TIMER, Acting
from firstring.store.nextbest.forgetting import Forgetting
from firstring.store.nextbest.gating import still_allowed
from firstring.store.nextbest.outcomes import Learning
from firstring.store.nextbest.policies import policy_watcher, with_actions
from firstring.store.nextbest.segmentwork import SegmentWork
from firstring.store.notices import Notice, Notices
from firstring.store.opening import OpenStore, open_database
from firstring.store.ring import RingStore, warm
from firstring.store.routing.around import AroundWatch, PlacesWork, around_now
from firstring.store.routing.models import FitWork, fit_in_force, fit_watcher
from firstring.store.routing.policies import FILE as POLICY_FILE
from firstring.store.routing.policies import PolicyFile, policy_of_tenant
from firstring.store.routing.presence import PresenceWatch
from firstring.store.routing.prices import PricesWork, live_in_force, prices_watcher
from firstring.store.routing.training import Trainings
from firstring.store.routing.trials import TrialWork, policy_in_force, trial_watcher
from firstring.store.routing.waits import WaitsWork
from firstring.store.timers import Timers
from firstring.store.weighing import weights_of, weights_watcher
from firstring.trust.score import DEFAULT_PRIORS
from firstring.trust.stir import load_roots

_log = structlog.get_logger("firstring.server")
Chore = Callable[[Tenant], Awaitable[object]]


@dataclass
class Server:
    """A running server: its services, its application, its voice adapters."""

    services: Services
    pops: Pops
    kamailio: KamailioAdapter | None = None
    redirect: RedirectServer | None = None


def models_of(settings: Settings) -> Models:
    """What is decided with, but for the model that a tenant has (store.weighing), with the named priors in its place.

    The routing policy is routing.toml in the home directory, where there is one.
    """
    policy = policy_from_file(settings.home / POLICY_FILE)
    return Models(
        weights=Weights(),
        trust=DEFAULT_PRIORS,
        actions=BUILT_IN,
        routing=policy,
        identify_threshold=settings.identify_threshold,
        survivorship=rules_from_file(settings.home / RULES_FILE),
    )


@asynccontextmanager
async def running(
    settings: Settings,
    *,
    clock: Clock | None = None,
    ids: Ids | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> AsyncIterator[Server]:
    """Everything of one server but its HTTP socket. Raises as `open_database` does where it cannot start."""
    clock = clock or SystemClock()
    ids = ids or SystemIds()
    models = models_of(settings)
    metrics = Metrics()
    origin = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
    async with AsyncExitStack() as stack:
        await asyncio.to_thread(ready_words)
        opened = await open_database(settings, progress, warm=warm)
        stack.push_async_callback(opened.close)
        database = opened.database
        notices = Notices(database.arguments, origin)
        ring = RingStore(database, notices)
        contacts = Contacts(database, notices, clock, wrap_up_s=settings.wrap_up_s)
        decider = Decider(ring, models, clock, ids, metrics, weights_of, _with_own, _arm_of, around_now)

        def policy_of(tenant: Tenant) -> RoutingPolicy:
            return decider.models_of(tenant).routing

        signatures = _signatures(stack, settings, clock)
        server: Server

        async def routed(tenant: Tenant, decision: Decision) -> None:
            await server.pops.show(tenant, decision)
            await callbacks.rings(tenant, decision)
            if decision.outcome in ("route", "elsewhere"):
                await push(server, server.services.calls_of(tenant), decision)

        def new_calls(tenant: Tenant) -> Calls:
            return Calls(
                tenant, decider, ring, contacts, signatures, clock, ids, _call_settings(settings), server.pops.show, routed,
                metrics.failed_open,
            )  # fmt: skip

        lines = _Lines(new_calls)
        arrivals = Arrivals(database)
        stack.push_async_callback(arrivals.close)
        journey = _journey(stack, settings, database, notices, clock, ids, models, metrics)
        callbacks = CallBacks(
            database, decider, contacts, notices, clock, ids, opening_from_file(settings.home / CALLBACKS_FILE), routed,
            country=settings.country,
        )  # fmt: skip
        journey.timers.handle(CALLBACK_TIMER, callbacks.due)
        trainings = Trainings(settings, database, clock)
        stack.push_async_callback(trainings.stop)
        services = Services(
            settings=settings,
            database=database,
            notices=notices,
            ring=ring,
            arrivals=arrivals,
            intake=journey.intake,
            flow=EventFlow(settings, metrics, clock.monotonic_s),
            timers=journey.timers,
            firings=journey.firings,
            acting=journey.acting,
            contacts=contacts,
            treatments=Treatments(database, clock, journey.log, still_allowed),
            house=House(database, ring, decider, contacts, callbacks, clock, routed),
            web=WebChannel(database, clock, Pages(database, clock), journey.log, still_allowed, callbacks),
            trainings=trainings,
            decider=decider,
            models=models,
            metrics=metrics,
            clock=clock,
            ids=ids,
            calls_of=lines.of,
            routed=routed,
            adapters=lambda: _connected(server),
        )
        server = Server(services, Pops(services))
        chores = [*_chores(services, callbacks, journey.log), PlacesWork(database, contacts, clock, policy_of).look]
        waits = WaitsWork(database, contacts, notices, clock, decider, routed)
        presence = PresenceWatch(database)
        await presence.start()
        stack.push_async_callback(presence.stop)
        around = AroundWatch(database, clock, policy_of)
        await around.start()
        stack.push_async_callback(around.stop)
        dispatcher = Dispatcher(
            contacts, ring, decider, clock, database.tenants, routed, chores, (waits.look,), _restart_embedded(opened)
        )
        await _start(stack, server, dispatcher, callbacks, journey.log, lines)
        try:
            yield server
        finally:
            services.stopping = True
            server.pops.close()


class _Lines:
    """The calls of each tenant, made when they are first asked for."""

    def __init__(self, new: Callable[[Tenant], Calls]) -> None:
        self._new = new
        self._calls: dict[int, Calls] = {}

    def of(self, tenant: Tenant) -> Calls:
        if tenant.tenant_id not in self._calls:
            self._calls[tenant.tenant_id] = self._new(tenant)
        return self._calls[tenant.tenant_id]

    async def finish(self) -> None:
        await asyncio.gather(*(each.stop() for each in self._calls.values()))


class _Journey(NamedTuple):
    """What takes events in, follows patterns and acts on them. log: tells what became of actions."""

    intake: EventIntake
    firings: Firings
    timers: Timers
    acting: Acting
    log: DeliveryLog


def _journey(
    stack: AsyncExitStack,
    settings: Settings,
    database: Database,
    notices: Notices,
    clock: Clock,
    ids: Ids,
    models: Models,
    metrics: Metrics,
) -> _Journey:
    firings = Firings(database, clock, metrics.pattern_fired)
    stack.push_async_callback(firings.stop)
    intake = EventIntake(database, clock, country=settings.country, told=firings.tell)
    stack.push_async_callback(intake.close)
    timers = Timers(database, clock)
    acting = Acting(database, notices, clock, ids, SystemRandom(), rules=models.survivorship)
    timers.handle(TIMER, acting.due)
    firings.hooks.append(acting.fired)
    pattern_work = PatternWork(database, clock, firings.tell, metrics.patterns_behind)
    for due in (pattern_work.replays, pattern_work.absences, firings.catch_up, pattern_work.evict):
        timers.also(due)
    timers.also(SegmentWork(database, clock, models.survivorship, metrics.segment_failed).look)
    log = DeliveryLog(database, clock, country=settings.country, told=firings.tell)
    stack.push_async_callback(log.stop)
    return _Journey(intake, firings, timers, acting, log)


def _signatures(stack: AsyncExitStack, settings: Settings, clock: Clock) -> SignatureVerifier:
    """Who verifies callers' numbers. Raises BadInput setting_file_unreadable."""
    tls = ssl.create_default_context()
    if settings.stir_https_roots_file is not None:
        with _readable(settings.stir_https_roots_file, "FIRSTRING_STIR_HTTPS_ROOTS_FILE"):
            tls.load_verify_locations(settings.stir_https_roots_file)
    certificates = CertificateCache(clock, tls=tls, allow_private_hosts=frozenset(settings.stir_private_hosts))
    stack.push_async_callback(certificates.aclose)
    return SignatureVerifier(certificates, _stir_roots(settings), clock)


def _call_settings(settings: Settings) -> CallSettings:
    return CallSettings(
        country=settings.country,
        public_url=public_url(settings),
        ring_timeout_ms=settings.ring_timeout_ms,
        decision_budget_ms=settings.decision_budget_ms,
        queue_wait_ms=limits.QUEUE_WAIT_MAX_MS,
        hold_uri=settings.hold_uri,
    )


def _chores(services: Services, callbacks: CallBacks, delivery_log: DeliveryLog) -> list[Chore]:
    """What the queue task does beside the queue, in turn, for each tenant."""
    settings, database, notices, clock = services.settings, services.database, services.notices, services.clock
    contacts, models, country = services.contacts, services.models, settings.country
    contact_log = ContactLog(
        database, services.ring, contacts, clock, country=country, threshold=settings.identify_threshold,
        told=services.firings.tell, actions_of=lambda tenant: services.decider.models_of(tenant).actions,
    )  # fmt: skip
    hygiene = Hygiene(database, clock, models.survivorship, country=country, per_s=settings.hygiene_persons_per_s)
    return [
        contact_log.write,
        delivery_log.write,
        callbacks.settle,
        hygiene.chore,
        DriftWatch(database, clock, services.metrics.drift, partial(look_aside, settings)).look,
        SettleWatch(database, clock).look,
        Learning(database, notices, clock).look,
        PricesWork(database, notices, clock, lambda tenant: services.decider.models_of(tenant).routing).look,
        FitWork(
            database,
            notices,
            clock,
            lambda tenant: services.decider.models_of(tenant).routing,
            threshold=models.identify_threshold,
            settings=settings,
        ).look,
        TrialWork(database, notices, clock).look,
        Forgetting(database, clock, settings.journey_kept_days).look,
        partial(restitch, database),
    ]


async def _start(
    stack: AsyncExitStack,
    server: Server,
    dispatcher: Dispatcher,
    callbacks: CallBacks,
    delivery_log: DeliveryLog,
    lines: _Lines,
) -> None:
    """Starts what runs by itself: each is stopped before what was started before it."""
    services = server.services
    settings, database, clock, rules = services.settings, services.database, services.clock, services.models.survivorship
    carrier = Carrier(
        database, clock, still_allowed, delivery_log, callbacks, ways_out(settings), rules, public_url=public_url(settings)
    )
    poster = GuardedPoster(frozenset(settings.outbound_private_hosts))
    feed_sender = FeedSender(database, clock, poster, rules)
    redirected = RedirectWaits(server)
    stack.push_async_callback(redirected.stop)
    announcer = Announcer(database, services.ring)
    stack.push_async_callback(announcer.stop)
    watchers = [made(database) for made in (weights_watcher, policy_watcher, fit_watcher, trial_watcher, prices_watcher)]
    refused = services.metrics.routing_policy_refused
    watchers.append(PolicyFile(database, settings.home / POLICY_FILE, services.models.routing, clock, refused).watcher())

    listening: list[Callable[[Notice], None]] = [
        server.pops.heard,
        services.web.pages.heard,
        carrier.heard,
        redirected.heard,
        announcer.heard,
        *(watcher.heard for watcher in watchers),
        services.timers.heard,
    ]

    def heard(notice: Notice) -> None:
        dispatcher.heard(notice.what)
        for hears in listening:
            hears(notice)
        if notice.what == "resync" and server.kamailio is not None:
            server.kamailio.reconcile_soon()  # while the store was away, what Kamailio told was lost

    for watcher in watchers:
        await watcher.start()
        stack.push_async_callback(watcher.stop)
    services.notices.subscribe(heard)
    await services.notices.start()
    stack.push_async_callback(services.notices.stop)
    stack.push_async_callback(lines.finish)
    announcer.tenant = await _start_adapters(stack, server, settings)
    announcer.redirect, announcer.kamailio = server.redirect, server.kamailio
    await services.timers.start()
    stack.push_async_callback(services.timers.stop)
    for rounds in (carrier.rounds, feed_sender.rounds):
        await rounds.start()
        stack.push_async_callback(rounds.stop)
    # Last to start, first to stop: whom it claims for a waiting call must be told to the call's adapter.
    await dispatcher.start()
    stack.push_async_callback(dispatcher.stop)


def _with_own(tenant: Tenant, models: Models) -> Models:
    """The models with what a tenant has of its own: actions, a text model, who fits and what agents' time is worth; and with
    the routing policy as its file is now."""
    models = with_reasons(tenant, with_actions(tenant, models))
    routing = policy_of_tenant(tenant, models.routing)
    return msgspec.structs.replace(models, routing=routing, fit=fit_in_force(tenant), live=live_in_force(tenant))


def _arm_of(tenant: Tenant, contact: Contact, base: RoutingPolicy) -> tuple[RoutingPolicy, InTrial | None]:
    """The routing policy of a contact: its arm's, where a trial runs."""
    return policy_in_force(tenant, base, contact.contact_id, contact.offered_at)


@contextlib.contextmanager
def _readable(path: Path, setting: str) -> Iterator[None]:
    """A file of certificates that a setting names. Raises BadInput setting_file_unreadable."""
    try:
        yield
    except (OSError, ValueError) as error:  # ssl.SSLError, for what is no certificate, is an OSError
        raise BadInput(
            "setting_file_unreadable",
            f"The file of certificates cannot be read ({type(error).__name__}).",
            where={"setting": setting, "file": str(path)},
            hint="Name a PEM file that this program may read.",
        ) from error


def ways_out(settings: Settings) -> dict[str, Outbound]:
    """How actions leave, by route. Raises BadInput webhook_address_refused, mail_sender_invalid, setting_file_unreadable."""
    ways: dict[str, Outbound] = {}
    private = frozenset(settings.outbound_private_hosts)
    if settings.outbound_webhook_url:
        ways["webhook"] = WebhookOutbound(GuardedPoster(private), checked_address(settings.outbound_webhook_url, private))
    if settings.outbound_smtp:
        tls = ssl.create_default_context()
        if settings.outbound_smtp_roots_file is not None:
            with _readable(settings.outbound_smtp_roots_file, "FIRSTRING_OUTBOUND_SMTP_ROOTS_FILE"):
                tls.load_verify_locations(settings.outbound_smtp_roots_file)
        host, port = host_and_port(settings.outbound_smtp)
        ways["email"] = MailOutbound(
            host, port, settings.outbound_from, user=settings.outbound_smtp_user,
            password=settings.outbound_smtp_password, security=settings.outbound_smtp_security, tls=tls,
        )  # fmt: skip
    return ways


def _stir_roots(settings: Settings) -> tuple[Certificate, ...]:
    """The authorities trusted for STIR/SHAKEN; nobody where no file is named."""
    path = settings.stir_roots_file
    if path is None:
        return ()
    with _readable(path, "FIRSTRING_STIR_ROOTS_FILE"):
        pem = path.read_bytes()
    return load_roots(pem)


class RedirectWaits:
    """Redirects calls that wait in this process once another one, which has no line to their caller, found an agent."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._tasks: set[asyncio.Task[None]] = set()

    def heard(self, notice: Notice) -> None:
        """A route, or notices that may be missing. Never blocks."""
        redirect = self._server.redirect
        if redirect is None or notice.what not in ("route", "elsewhere", "resync"):
            return
        for contact_id in tuple(redirect.waiting()):
            if notice.what == "resync" or str(notice.contact_id) == contact_id:
                task = asyncio.create_task(self._push(uuid.UUID(contact_id)))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _push(self, contact_id: uuid.UUID) -> None:
        services = self._server.services
        try:
            tenant = await services.database.tenant_named(services.settings.tenant)
            decision = await services.ring.decision(tenant, contact_id)
        except FirstringError as error:
            _log.warning("push_failed", adapter="redirect", code=error.code)
            return
        if decision is not None and decision.outcome in ("route", "elsewhere"):
            await push(self._server, services.calls_of(tenant), decision)

    async def stop(self) -> None:
        await asyncio.gather(*self._tasks)


async def push(server: Server, calls: Calls, decision: Decision) -> None:
    """Tells the adapter that holds a waiting call where to send it. An adapter that asks by HTTP hears it by notice."""
    contact = decision.contact
    kind = contact.adapter.partition(":")[0]
    try:
        answer = calls.answer(decision, contact.adapter_ref)
        if kind == "kamailio" and server.kamailio is not None:
            await server.kamailio.push(contact.adapter_ref, answer)
        elif kind == "redirect" and server.redirect is not None:
            await server.redirect.push(contact.adapter_ref, answer)
    except FirstringError as error:
        _log.warning("push_failed", adapter=kind, code=error.code)


def _restart_embedded(opened: OpenStore) -> Callable[[], Awaitable[None]] | None:
    """Starts the embedded server again where it died under us; a server of one's own is its operator's."""
    embedded = opened.server.embedded
    if embedded is None:
        return None

    async def restart() -> None:
        try:
            await asyncio.to_thread(embedded.ensure_running)
        except FirstringError as error:
            _log.error("embedded_server_does_not_start", code=error.code)

    return restart


def _connected(server: Server) -> dict[str, bool]:
    adapters: dict[str, bool] = {}
    if server.kamailio is not None:
        adapters["kamailio"] = server.kamailio.connected
    if server.redirect is not None:
        adapters["redirect"] = True
    return adapters


async def _start_adapters(stack: AsyncExitStack, server: Server, settings: Settings) -> Tenant | None:
    """The adapters serve the default tenant, which `firstring init` makes; None where there are none."""
    if not (settings.kamailio_evapi or settings.redirect_listen):
        return None
    tenants = {tenant.name: tenant for tenant in await server.services.database.tenants()}
    tenant = tenants.get(settings.tenant)
    if tenant is None:
        raise BadInput(
            "unknown_tenant",
            "The voice adapters need the default tenant, and there is none of that name.",
            where={"setting": "FIRSTRING_TENANT"},
            hint="Run `firstring init`.",
        )
    calls = server.services.calls_of(tenant)
    if settings.kamailio_evapi:
        host, port = host_and_port(settings.kamailio_evapi)
        server.kamailio = KamailioAdapter(calls, host=host, port=port)
        await server.kamailio.start()
        stack.push_async_callback(server.kamailio.stop)
    if settings.redirect_listen:
        host, port = host_and_port(settings.redirect_listen)
        server.redirect = RedirectServer(calls, host=host, port=port, default_uri=settings.default_queue_uri)
        await server.redirect.start()
        stack.push_async_callback(server.redirect.stop)
    return tenant


def host_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def public_url(settings: Settings) -> str:
    """Where browsers reach the desk."""
    return settings.public_url.rstrip("/") or f"http://{settings.listen_host}:{settings.listen_port}"


def application(server: Server) -> object:
    """The ASGI application of a running server."""
    return create_app(server.services, desk_pages(server.services, server.pops), page_handlers(server.pops.rendering))
