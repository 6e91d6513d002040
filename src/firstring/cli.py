"""The command line. Every command opens what it needs, does one thing, and closes it again.

Exit status: 0 done, 1 something is different from what it should be (replay, demo), 2 bad input, 70 an operator has to
act, 75 try again later (sysexits.h).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, get_args

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from firstring import __version__, limits
from firstring.bench.cli import register as add_commands_of_benchmarks
from firstring.bulk.linking.modelcli import register as add_commands_of_models
from firstring.bulk.patterns.cli import patterns_app
from firstring.bulk.patterns.cli import register as add_commands_of_patterns
from firstring.bulk.versions.versioncli import train_on_store
from firstring.bulk.words.cli import register as add_commands_of_words
from firstring.contact import Resolution
from firstring.errors import BadInput, FirstringError, Retryable
from firstring.ports import SystemClock
from firstring.settings import load
from firstring.steward import actions as actions_commands
from firstring.steward import delivery as delivery_commands
from firstring.steward import events as events_commands
from firstring.steward import patterns as patterns_commands
from firstring.steward import persons as persons_commands
from firstring.steward import profiles as profiles_commands
from firstring.steward import routing as routing_commands
from firstring.steward import segments as segments_commands
from firstring.steward import simulate as simulate_commands
from firstring.steward.cli import register as add_commands_of_stewards

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Knows who is calling before the first ring ends, and hands them to the right agent.",
)
database_app = typer.Typer(no_args_is_help=True, help="The database.")
staff_app = typer.Typer(no_args_is_help=True, help="People who sign in at the desk.")
agent_app = typer.Typer(no_args_is_help=True, help="Agents who take contacts.")
app.add_typer(database_app, name="db")
app.add_typer(staff_app, name="staff")
app.add_typer(agent_app, name="agent")
add_commands_of_benchmarks(app)
persons_commands.register(app)
profiles_commands.register(app)
events_commands.register(app)
delivery_commands.register(app)
actions_commands.register(app)
segments_commands.register(app)
simulate_commands.register(app)
routing_commands.register(app)
add_commands_of_models(app)
add_commands_of_patterns(app)
patterns_commands.register(patterns_app)
add_commands_of_words(app)
add_commands_of_stewards(app)

out = Console()
err = Console(stderr=True)


def main() -> None:
    """The program. Errors of ours become one line and an exit status; everything else is a fault and shows its trace."""
    try:
        app(prog_name="firstring")
    except FirstringError as error:
        err.print(f"[bold red]{error.code}[/bold red]: {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2 if isinstance(error, BadInput) else 75 if isinstance(error, Retryable) else 70)


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    import uvloop

    return uvloop.run(work)


def _say(text: str) -> None:
    err.print(text, style="dim", highlight=False, markup=False)


@app.command()
def version() -> None:
    """Shows the version."""
    out.print(__version__)


@app.command()
def init(login: Annotated[str, typer.Option(help="Log-in of the first administrator.")] = "admin") -> None:
    """Makes the master key, the tenant and its first administrator. What is there already is left alone."""
    from firstring.store.opening import initialise

    settings = load()
    made = _run(initialise(settings, SystemClock(), login=login, progress=_say))
    out.print(f"tenant {made.tenant}: {', '.join(made.made) if made.made else 'everything was there already'}")
    out.print(f"master key: {'from the environment' if settings.master_key else settings.key_file}")
    if made.password is not None:
        out.print(
            f"administrator {made.login}, password {made.password} (shown once; keep a backup of the key)", soft_wrap=True
        )


@database_app.command("upgrade")
def upgrade() -> None:
    """Applies the migrations that the database does not have yet."""
    from firstring.store.opening import upgrade_database

    applied = _run(upgrade_database(load(), _say))
    out.print(f"applied: {', '.join(applied)}" if applied else "up to date")


@app.command()
def token(
    role: Annotated[str, typer.Option(help="administrator, adapter, import, events, write_key, read or steward.")] = "read",
    name: Annotated[str, typer.Option(help="What the token is for.")] = "unnamed",
    tenant: Annotated[str, typer.Option(help="Tenant (default: the settings').")] = "",
    source: Annotated[str, typer.Option(help="The system whose ids the token's events speak of; empty: any.")] = "",
    list_all: Annotated[bool, typer.Option("--list", help="Lists the tokens instead.")] = False,
    revoke: Annotated[int | None, typer.Option(help="Ends the token of this number instead.")] = None,
) -> None:
    """Makes an API token or a write key; it is shown once."""
    from firstring.store.access import Access, TokenRole, signing_secret
    from firstring.store.opening import database_only

    if role not in get_args(TokenRole):
        raise BadInput("role_invalid", f"There is no role {role}.", hint=f"One of: {', '.join(get_args(TokenRole))}.")

    async def work() -> None:
        settings = load()
        async with database_only(settings, _say) as database:
            access = Access(database, SystemClock())
            its_tenant = await database.tenant_named(tenant or settings.tenant)
            if list_all:
                table = Table("number", "role", "name", "made", "revoked")
                for known in await access.tokens(its_tenant):
                    revoked = str(known.revoked_at or "")
                    table.add_row(str(known.token_id), known.role, known.name, str(known.created_at), revoked)
                out.print(table)
            elif revoke is not None:
                done = await access.revoke_token(its_tenant, revoke)
                out.print(f"token {revoke} revoked" if done else f"there is no token {revoke} in use")
            else:
                text, made = await access.create_token(its_tenant, role, name, source or None)  # type: ignore[arg-type]
                out.print(text, soft_wrap=True, highlight=False)
                _say(f"role {made.role}, number {made.token_id}; it is not shown again")
                if made.role == "write_key":
                    secret = signing_secret(its_tenant.keys, made.token_id)
                    _say(f"user ids are signed with {secret} (HMAC-SHA256, hex; keep it on your server)")

    _run(work())


@staff_app.command("add")
def staff_add(
    login: Annotated[str, typer.Argument(help="Name to sign in with.")],
    role: Annotated[str, typer.Option(help="agent, supervisor or administrator.")] = "agent",
    agent: Annotated[int | None, typer.Option(help="The agent's number, for the role agent.")] = None,
    password: Annotated[
        str, typer.Option(prompt=True, hide_input=True, confirmation_prompt=True, help="Asked for where it is not given.")
    ] = "",
) -> None:
    """Lets somebody sign in at the desk."""
    from firstring.store.access import Access
    from firstring.store.opening import database_only

    async def work() -> None:
        settings = load()
        async with database_only(settings, _say) as database:
            its_tenant = await database.tenant_named(settings.tenant)
            made = await Access(database, SystemClock()).create_staff(
                its_tenant,
                login,
                password,
                role,  # type: ignore[arg-type]
                agent_id=agent,
            )
            out.print(f"{made.login} may sign in as {made.role}")

    _run(work())


@agent_app.command("add")
def agent_add(
    file: Annotated[Path, typer.Argument(help="TOML: name, address, skills, languages, tiers, channels, capacity.")],
    agent: Annotated[int | None, typer.Option(help="The number of an agent to change.")] = None,
) -> None:
    """Adds an agent, or a new version of one."""
    import tomllib

    from firstring.routing.may.agents import agent_profile
    from firstring.store.contacts import Contacts
    from firstring.store.notices import Notices
    from firstring.store.opening import database_only

    try:
        raw = tomllib.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInput("agent_unreadable", f"The profile cannot be read: {error}", where={"file": str(file)}) from error
    profile = agent_profile(raw, agent_id=agent or 0)

    async def work() -> None:
        settings = load()
        async with database_only(settings, _say) as database:
            contacts = Contacts(database, Notices(database.arguments, "cli"), SystemClock(), wrap_up_s=settings.wrap_up_s)
            made = await contacts.put_agent(await database.tenant_named(settings.tenant), profile, agent)
            out.print(f"agent {made[0]}, version {made[1]}")

    _run(work())


@app.command("import")
def import_records(
    file: Annotated[Path, typer.Argument(help="CSV, JSONL or Parquet.")],
    source: Annotated[str, typer.Option(help="Name of the system that the records come from.")],
    map_file: Annotated[Path | None, typer.Option("--map", help="TOML: [fields] column = field.")] = None,
    rejects: Annotated[Path | None, typer.Option(help="Where rejected rows go (default: FILE.rejects.jsonl).")] = None,
    dry_run: Annotated[bool, typer.Option(help="Shows the map and stops.")] = False,
    events: Annotated[bool, typer.Option(help="The file holds events, not records.")] = False,
    enrich: Annotated[
        str, typer.Option(help="Appends to the records of this source, by its record_id; - matches by identifiers.")
    ] = "",
) -> None:
    """Loads customer records, or the events of customers. Interrupted and run again, it goes on where it stopped."""
    from firstring.bulk.importing.enriching import enrich_file
    from firstring.bulk.importing.load import run_events_import, run_import
    from firstring.store.opening import database_only

    async def work() -> None:
        settings = load()
        async with database_only(settings, _say) as database:
            its_tenant = await database.tenant_named(settings.tenant)
            if enrich:
                await enrich_file(
                    file, source, enrich, map_file, database=database, tenant=its_tenant, settings=settings, console=err,
                    rejects_path=rejects, dry_run=dry_run,
                )  # fmt: skip
            elif events:
                await run_events_import(file, source, database, its_tenant, settings, console=err, rejects=rejects)
            else:
                await run_import(
                    file, source, map_file, database, its_tenant, settings, console=err, rejects=rejects, dry_run=dry_run
                )

    _run(work())


@app.command()
def withdraw(source: Annotated[str, typer.Argument(help="Name of the system whose records go.")]) -> None:
    """Deletes all records of a source, and their events; what only they held together comes apart. Safe to repeat."""
    from firstring.store.identity.records import withdraw_source
    from firstring.store.opening import database_only

    async def work() -> Any:
        settings = load()
        async with database_only(settings, _say) as database:
            its_tenant = await database.tenant_named(settings.tenant)
            return await withdraw_source(
                database, its_tenant, source, clock=SystemClock().now, told=lambda deleted: _say(f"{deleted:,} deleted")
            )

    done = _run(work())
    out.print(f"{done.deleted:,} records deleted; {done.merged:,} persons merged, {done.split:,} split", highlight=False)


@app.command()
def link(
    files: Annotated[list[Path], typer.Argument(help="CSV, JSONL or Parquet; several are linked with one another.")],
    map_file: Annotated[Path | None, typer.Option("--map", help="TOML: [fields] column = field.")] = None,
    threshold: Annotated[float, typer.Option(help="Probability from which on two records are one person.")] = 0.95,
    output: Annotated[Path | None, typer.Option("--out", help="CSV or Parquet: record_id, person_id.")] = None,
    pairs: Annotated[Path | None, typer.Option(help="CSV or Parquet: pairs with probability and weights.")] = None,
    model: Annotated[Path | None, typer.Option(help="A model of `train`; without one it trains itself first.")] = None,
    spec: Annotated[Path | None, typer.Option(help="TOML: what is compared (firstring spec prints the default).")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Shows keys, pairs and hot values, and stops.")] = False,
    memory_mb: Annotated[int, typer.Option(help="Memory of the pairs; beyond it they go to disk.", min=100)] = 1_000,
    country: Annotated[str, typer.Option(help="Of national phone numbers, where the map names none.")] = "",
    engine: Annotated[str, typer.Option(help="What gathers the pairs: duckdb.")] = "duckdb",
) -> None:
    """Which records are one person? Needs no store, key or server; never drops a row."""
    from firstring.bulk.linking.console import run_link

    os.nice(limits.NICENESS)
    run_link(
        files, map_file, country=country or load().country, threshold=threshold, out=output, pairs_path=pairs,
        model_path=model, spec_path=spec, plan_only=plan, memory_mb=memory_mb, engine=engine, console=err,
    )  # fmt: skip


@app.command()
def train(
    files: Annotated[list[Path] | None, typer.Argument(help="CSV, JSONL or Parquet.")] = None,
    output: Annotated[Path | None, typer.Option("--out", help="The model, JSON.")] = None,
    store: Annotated[
        bool, typer.Option("--store", help="Learns from the records of the store and keeps the version there.")
    ] = False,
    threshold: Annotated[
        float, typer.Option(help="With --store: from which probability on two records are one person.")
    ] = 0.95,
    map_file: Annotated[Path | None, typer.Option("--map", help="TOML: [fields] column = field.")] = None,
    memory_mb: Annotated[int, typer.Option(help="Memory of the pairs; beyond it they go to disk.", min=100)] = 1_000,
    country: Annotated[str, typer.Option(help="Of national phone numbers, where the map names none.")] = "",
    spec: Annotated[Path | None, typer.Option(help="TOML: what is compared (firstring spec prints the default).")] = None,
    labels: Annotated[Path | None, typer.Option(help="CSV: left_id, right_id, answer. They correct the model.")] = None,
) -> None:
    """Learns from records, without labels, what says that two are one person. The model holds no value of anybody."""
    from firstring.bulk.linking.console import run_train

    os.nice(limits.NICENESS)
    if store:
        if files or map_file:
            raise BadInput(
                "argument_conflict", "The store's records are read as they are.", hint="Leave out files and --map."
            )
        train_on_store(output, spec, threshold, memory_mb)
        return
    if not files or output is None:
        raise BadInput(
            "argument_missing", "What shall it learn from, and where to?", hint="Give files and --out, or --store."
        )
    settings_country = country or load().country
    run_train(
        files, map_file, output, country=settings_country, memory_mb=memory_mb, spec_path=spec, labels_path=labels,
        console=err,
    )  # fmt: skip


@app.command()
def resolve(
    fields: Annotated[list[str], typer.Argument(help="field=value, such as phone=+12025550123 full_name='Jon Smith'.")],
    as_json: Annotated[bool, typer.Option("--json", help="The Resolution as JSON.")] = False,
) -> None:
    """Who is this? Candidates with their probabilities and reasons."""
    from firstring.decide import looked_up, who
    from firstring.identity.caller.evidence import gather
    from firstring.identity.golden.rules import RULES_FILE, rules_from_file
    from firstring.store.notices import Notices
    from firstring.store.opening import database_only
    from firstring.store.ring import RingStore
    from firstring.store.weighing import refresh

    raw: dict[str, Any] = {}
    for field in fields:
        name, equals, value = field.partition("=")
        if not equals:
            raise BadInput("argument_invalid", "Write field=value.", where={"argument": field[:40]})
        raw.setdefault("full_name" if name == "name" else name, []).append(value)

    async def work() -> Resolution:
        settings = load()
        async with database_only(settings, _say) as database:
            ring = RingStore(database, Notices(database.arguments, "cli"))
            evidence = gather(raw, country=settings.country)
            for reason in evidence.rejected:
                _say(f"not used: {reason.text}")
            tenant = await database.tenant_named(settings.tenant)
            weights = await refresh(database, tenant)
            read = await ring.read(tenant, looked_up(evidence), None)
            rules = rules_from_file(settings.home / RULES_FILE)
            return who(evidence, read, weights=weights, now=SystemClock().now(), rules=rules)

    resolution = _run(work())
    if as_json:
        out.print_json(msgspec.json.encode(resolution).decode())
        return
    table = Table("probability", "person", "who", "because", title=f"basis: {resolution.basis}, not calibrated")
    for candidate in resolution.candidates:
        because = "; ".join(reason.text for reason in candidate.reasons[:4])
        table.add_row(f"{candidate.probability:.3f}", str(candidate.person_id), shown_name(candidate.profile), because)
    table.add_row(f"{resolution.another_in_household:.3f}", "", "another in the household", "")
    table.add_row(f"{resolution.someone_new:.3f}", "", "someone new", "")
    out.print(table)


def shown_name(profile: dict[str, Any]) -> str:
    """A person's name out of a profile, or a dash."""
    whole = " ".join(str(profile[part]) for part in ("given_name", "family_name") if profile.get(part))
    return whole or str(profile.get("full_name") or "-")


@app.command()
def serve() -> None:
    """Runs the server until it is told to stop (SIGTERM, Ctrl-C); what it accepted is finished."""
    from firstring.observe import configure_logs
    from firstring.serving import serve as serve_until_told

    settings = load()
    configure_logs(settings.log_level)
    _run(serve_until_told(settings, _say))


@app.command("kamailio-config")
def kamailio_config(
    listen: Annotated[list[str] | None, typer.Option(help="udp:ADDRESS:PORT or tcp:ADDRESS:PORT.")] = None,
    default_uri: Annotated[str, typer.Option(help="The switch's default queue (default: the settings').")] = "",
    hold_uri: Annotated[str, typer.Option(help="Where a wait goes when it is over (default: the settings').")] = "",
    evapi: Annotated[str, typer.Option(help="Where Firstring connects; loopback only (default: the settings').")] = "",
    log_stderror: Annotated[bool, typer.Option(help="Kamailio logs to standard error.")] = False,
) -> None:
    """Prints a complete kamailio.cfg."""
    from firstring.channels.voice.config import DEFAULT_LISTEN, render_config

    settings = load()
    queue = default_uri or settings.default_queue_uri
    if not queue:
        raise BadInput(
            "setting_missing",
            "The default queue is not known: calls that cannot be decided need a place to go.",
            where={"setting": "FIRSTRING_DEFAULT_QUEUE_URI"},
            hint="Set it, or give --default-uri sip:queue@host.",
        )
    text = render_config(
        listen=listen or DEFAULT_LISTEN,
        evapi=evapi or settings.kamailio_evapi or "127.0.0.1:8448",
        default_uri=queue,
        hold_uri=hold_uri or settings.hold_uri,
        ring_timeout_ms=settings.ring_timeout_ms,
        log_stderror=log_stderror,
    )
    typer.echo(text)


@app.command()
def replay(
    last: Annotated[int, typer.Option(help="How many of the newest decisions.", min=1, max=1_000_000)] = 1_000,
    contact: Annotated[str, typer.Option(help="Only the decisions of this contact.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Prints the result as JSON.")] = False,
) -> None:
    """Derives stored decisions again from what they read, and shows any difference. Exit status 1 if there is one."""
    from firstring.replay import replay_decisions

    report = _run(replay_decisions(load(), last=last, contact=contact, progress=_say))
    if as_json:
        typer.echo(json.dumps(report.as_json()))
    else:
        for difference in report.differences:
            out.print(difference, highlight=False)
        out.print(f"{report.replayed} decisions derived again, {len(report.differences)} differences")
        if report.other_versions:
            out.print(f"{report.other_versions} were made by other versions of the models and were not derived")
    if report.differences:
        raise typer.Exit(1)


@app.command()
def demo(
    once: Annotated[bool, typer.Option(help="Runs the story and exits.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Prints the result as JSON.")] = False,
    voice: Annotated[str, typer.Option(help="auto, kamailio or redirect.")] = "auto",
) -> None:
    """Sample customers, a server, real SIP calls: shows what happens to each, and stays until Ctrl-C."""
    from firstring.demo.story import run_demo

    if not asyncio.run(run_demo(once=once, as_json=as_json, voice=voice)):
        raise typer.Exit(1)


if __name__ == "__main__":
    main()
