"""The commands about who fits and whether it helps: models, trials, other policies on the log, regret, fairness."""

from __future__ import annotations

import getpass
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from firstring.errors import BadInput
from firstring.ports import SystemClock
from firstring.steward.files import texts_of
from firstring.steward.opened import run, store

if TYPE_CHECKING:
    from firstring.routing.declared.policy import RoutingPolicy
    from firstring.routing.fit.model import FitModel
    from firstring.settings import Settings
    from firstring.store.routing.looking import GuardShown, MetricShown, ResultShown, TrialShown
    from firstring.store.routing.trials import TrialLine

routing_app = typer.Typer(no_args_is_help=True, help="Who should serve them: models of who fits, and what they are worth.")
trial_app = typer.Typer(no_args_is_help=True, help="Randomised trials of two ways to route.")
out = Console()
err = Console(stderr=True)
Json = Annotated[bool, typer.Option("--json", help="Prints the result as JSON.")]
_BY = "command"


def register(app: typer.Typer) -> None:
    """Adds the commands to the program."""
    app.add_typer(routing_app, name="routing")
    app.add_typer(trial_app, name="trial")


def _print(text: str) -> None:
    out.print(text, markup=False, highlight=False, soft_wrap=True)


def _warn(text: str) -> None:
    err.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)


def policy_of(settings: Settings) -> RoutingPolicy:
    """The routing policy of this installation."""
    from firstring.routing.declared.policy import policy_from_file

    return policy_from_file(settings.home / "routing.toml")


@routing_app.command("check")
def check_policy(
    file: Annotated[
        Path | None, typer.Argument(help="A routing policy; without it routing.toml in the home directory.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Reads a routing policy as a server does when it starts: its version, or the first mistake with its place."""
    from firstring.routing.declared.places import summed_up
    from firstring.routing.declared.policy import policy_from_file
    from firstring.settings import load

    path = file or load().home / "routing.toml"
    if file is not None and not file.exists():
        raise BadInput("file_missing", "There is no such file.", where={"file": str(file)}, http_status=404)
    policy = policy_from_file(path)
    if as_json:
        out.print_json(msgspec.json.encode({"version": policy.version, "policy": policy}).decode())
        return
    source = str(path) if path.exists() else "the built-in policy"
    _print(f"{policy.version} ({source})")
    _print(
        f"{len(policy.intents)} reasons, {len(policy.called)} numbers, {len(policy.tiers)} tiers, {len(policy.rules)} rules"
    )
    _print(f"agents are picked by {'who fits' if policy.pick == 'best' else 'first come, longest idle'}")
    most_s = policy.priority_max * policy.ageing_s_per_point
    _print(f"nobody is overtaken by who came more than {most_s:g} s later")
    for line in summed_up(policy.self_service, policy.overflow):
        _print(line)
    for name, tier in policy.tiers.items():
        if tier.keep_free:
            _print(
                f"{tier.keep_free} agents are kept free for {name}; others wait {tier.keep_free_for_s:g} s for them at most"
            )
    if policy.callback_over_s:
        _print(f"a call-back is offered where a wait of more than {policy.callback_over_s:g} s is expected")


# --- who fits ------------------------------------------------------------------------------------------------------


@routing_app.command("train")
def train(
    at_most: Annotated[int, typer.Option(help="Trains on this many outcomes at most, the newest.", min=1)] = 1_000_000,
    save: Annotated[Path | None, typer.Option(help="Writes the model to a file too.")] = None,
    try_only: Annotated[bool, typer.Option("--try", help="Does not put it in force.")] = False,
) -> None:
    """Learns who fits from what came of contacts, and puts the model in force."""
    from firstring.routing.fit.model import model_to_json
    from firstring.routing.fit.train import train as trained
    from firstring.store.routing.models import train_now
    from firstring.store.routing.outcomes import REMEMBERED, outcomes_since

    async def work() -> FitModel:
        now = SystemClock().now()
        async with store() as opened:
            policy = policy_of(opened.settings)
            if try_only:
                async with opened.database.transaction(opened.tenant.tenant_id) as connection:
                    outcomes, until = await outcomes_since(connection, opened.tenant, now - REMEMBERED, at_most)
                return trained(outcomes, fields=policy.fit_fields, since=now - REMEMBERED, until=until)
            return await train_now(
                opened.database, opened.tenant, policy=policy, now=now, by=getpass.getuser(), origin=_BY, at_most=at_most
            )

    model = run(work())
    if save is not None:
        _written(save, model_to_json(model) + "\n")
    _show_model(model)
    _print("not put in force" if try_only else "in force")


def _show_model(model: FitModel) -> None:
    content = model.content
    _print(
        f"{model.version}: {len(content.agents):,} agents, {len(content.intents)} reasons, {len(content.segments)} segments"
    )
    table = Table("", "contacts", "population", "agents", "agent x reason", "x segment")
    for name in ("success", "handle", "repeat"):
        part = model.part(name)
        mean = math.exp(part.intercept) * part.smear if name == "handle" else 1.0 / (1.0 + math.exp(-part.intercept))
        shown = f"{mean:.0f} s" if name == "handle" else f"{mean:.1%}"
        table.add_row(name, f"{part.rows:,}", shown, *(f"{math.sqrt(one):.3f}" for one in part.tau2))
    out.print(table)
    _print(
        "agents, agent x reason, x segment: standard deviations in log odds (of seconds: in logs); 0: no difference shown"
    )
    gain, error = content.gain
    if error:
        kept = "kept" if gain >= -error else "not kept: they predict worse than none"
        shown = f"{gain * 1e3:.2f} +- {error * 1e3:.2f} thousandths of a nat"
        _print(f"agents' effects better the prediction of the newest contacts by {shown}: {kept}")


@routing_app.command("models")
def models_command(
    use: Annotated[str, typer.Option(help="Puts a model that was trained before in force again.")] = "",
    load: Annotated[Path | None, typer.Option(help="Puts a model of a file in force.")] = None,
    save: Annotated[Path | None, typer.Option(help="Writes the model in force to a file.")] = None,
    as_json: Json = False,
) -> None:
    """Lists the models of who fits; puts one in force, or writes it to a file."""
    from firstring.routing.fit.model import model_from_json, model_to_json
    from firstring.store.routing import models as stored

    loaded = None if load is None else model_from_json(texts_of([load])[0][1], file=str(load))

    async def work() -> tuple[list[Any], FitModel]:
        now = SystemClock().now()
        async with store() as opened:
            tenant = opened.tenant
            async with opened.database.transaction(tenant.tenant_id) as connection:
                if loaded is not None:
                    await stored.put_in_force(
                        connection, tenant, loaded, outcomes=loaded.content.success.rows, until=now, now=now,
                        by=getpass.getuser(), origin=_BY,
                    )  # fmt: skip
                elif use:
                    await stored.back_to(connection, tenant, use, origin=_BY)
            async with opened.database.transaction(tenant.tenant_id) as connection:
                found = await stored.models(connection, tenant)
            return found, await stored.refresh(opened.database, tenant)

    lines, model = run(work())
    if save is not None:
        _written(save, model_to_json(model) + "\n")
    if as_json:
        typer.echo(msgspec.json.encode(lines).decode())
        return
    table = Table("version", "trained", "by", "contacts", "updates", "in force")
    for line in lines:
        made = f"{line.made_at:%Y-%m-%d %H:%M}"
        table.add_row(
            line.version, made, line.made_by, f"{line.outcomes:,}", str(line.updates), "yes" if line.active else ""
        )
    out.print(table)
    if model.basis == "prior":
        _print("nothing is in force: contacts are routed first come, to who is idle longest")


def _written(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise BadInput(
            "file_not_written", f"The file cannot be written ({type(error).__name__}).", where={"file": str(path)}
        ) from error


# --- what it is worth ----------------------------------------------------------------------------------------------

Days = Annotated[float, typer.Option(help="How many days back.", min=0.01, max=400.0)]


@routing_app.command("try")
def try_policy(
    file: Annotated[
        Path, typer.Argument(help="TOML with [routing]: the keys in which the policy differs from the one in force.")
    ],
    last: Annotated[int, typer.Option(help="The newest so many judged contacts.", min=1, max=1_000_000)] = 2_000,
    as_json: Json = False,
) -> None:
    """What would another policy have brought? By the decisions of the log (IPS, SNIPS, DR), with intervals."""
    from firstring.bootstrap import models_of
    from firstring.routing.declared.policy import routing_policy, routing_table
    from firstring.store.routing.tries import Tried, tried

    async def work() -> Tried:
        async with store() as opened:
            models = models_of(opened.settings)
            try:
                overrides = routing_table(texts_of([file])[0][1])
                routing_policy(overrides, models.routing)  # refuses what is no policy beside the one in force
            except BadInput as error:
                error.where = {"file": str(file), **error.where}
                raise
            return await tried(opened.database, opened.tenant, models, overrides, last=last, progress=_warn)

    found: Tried = run(work())
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
        return
    evaluation = found.evaluation
    _print(f"{evaluation.rows:,} judged contacts; in {found.changed:.1%} the policy would have chosen another agent")
    _print(f"{found.by_chance:.1%} of them were left to chance; the weights leave {evaluation.effective:,.0f}")
    if found.skipped or found.not_chosen:
        _print(
            f"left out: {found.skipped} of other versions, {found.not_chosen} that went to an agent who was not the choice"
        )
    if found.held:
        _print(f"left out: {found.held} that the policy would have held for somebody better")
    if found.together:
        _print(f"left out: {found.together} that had waited and were matched together with others")
    table = Table("", "success of each", "95 % from", "to")
    for name in ("logged", "ips", "snips", "dr"):
        one = getattr(evaluation, name)
        table.add_row(
            name.upper() if name != "logged" else name, *(f"{value:.4f}" for value in (one.value, one.low, one.high))
        )
    out.print(table)
    for warning in evaluation.warnings:
        _warn(warning)


@routing_app.command("regret")
def regret(days: Days = 1.0, as_json: Json = False) -> None:
    """How much of what was possible routing reached: the share of the gap between first come and the clairvoyant bound."""
    from datetime import timedelta

    from firstring.routing.trial.regret import Regret
    from firstring.store.routing.meters import regret_between
    from firstring.store.routing.models import refresh

    async def work() -> Regret:
        now = SystemClock().now()
        async with store() as opened:
            await refresh(opened.database, opened.tenant)
            policy = policy_of(opened.settings)
            return await regret_between(opened.database, opened.tenant, policy, now - timedelta(days=days), now)

    found: Regret = run(work())
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
        return
    _print(f"{found.contacts:,} contacts, {found.served:,} of them served, by {found.agents:,} agents; {found.model}")
    _print(f"expected successes: first come {found.first_come:.1f}, chosen {found.chosen:.1f}, bound {found.bound:.1f}")
    if found.share is None:
        _print("there is no gap to close: no model was trained, or all agents are alike to it")
    else:
        _print(f"{found.share:.1%} of the gap was reached; {found.lost:.1f} successes stayed out of reach of the choice")


@routing_app.command("saved")
def saved_command(days: Days = 28.0, as_json: Json = False) -> None:
    """How much handle time recognising callers saves: recognised against others, adjusted, with its interval."""
    from datetime import timedelta

    from firstring.routing.trial.saved import Saved
    from firstring.store.routing.meters import saved_between

    async def work() -> Saved:
        now = SystemClock().now()
        async with store() as opened:
            return await saved_between(opened.database, opened.tenant, now - timedelta(days=days), now)

    found: Saved = run(work())
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
        return
    _print(f"{found.recognised:,} contacts recognised, {found.others:,} others")
    for name, one in (("plain difference", found.crude), ("adjusted", found.adjusted)):
        if one is not None:
            _print(f"{name}: {one.value:+.1f} s saved a contact (95 %: {one.low:+.1f} to {one.high:+.1f})")
    for warning in found.warnings:
        _warn(warning)


@routing_app.command("audit")
def audit_command(
    file: Annotated[Path, typer.Option("--out", help="Writes the page (HTML) here.")],
    days: Days = 28.0,
    protected: Annotated[bool, typer.Option(help="Also by gender, age and country, where records hold them.")] = True,
) -> None:
    """Outcomes by group of customers and by agent, as a page: who waits, who is helped, against contacts like theirs."""
    from datetime import timedelta

    from firstring.routing.trial.audit import Audited, audit, audit_page
    from firstring.store.routing.meters import PROTECTED, audited_between

    now = SystemClock().now()

    async def work() -> list[Audited]:
        async with store() as opened:
            return await audited_between(
                opened.database, opened.tenant, now - timedelta(days=days), now, protected=protected
            )

    found = audit(run(work()), protected=PROTECTED)
    said = f"{found.contacts:,} contacts of the {days:g} days until {now:%Y-%m-%d %H:%M} UTC."
    _written(file, audit_page(found, title="Routing: who fares how", said=said))
    marked = [f"{one.name} {group.name}" for one in found.dimensions for group in one.groups if group.differs]
    marked += [f"agent {group.name}" for group in found.agents if group.differs]
    _print(f"{found.contacts:,} contacts; {file}")
    _print(f"beyond chance: {', '.join(marked)}" if marked else "no group differs beyond chance")


# --- trials --------------------------------------------------------------------------------------------------------


@trial_app.command("plan")
def plan(
    file: Annotated[
        Path, typer.Argument(help="TOML of the trial: name, kind, metric, detect, [control], [treatment], [guards].")
    ],
    mean: Annotated[
        float | None, typer.Option(help="The metric's mean, where the log does not tell it (shares only).")
    ] = None,
    per_day: Annotated[float | None, typer.Option(help="Contacts a day, where the log does not tell it.")] = None,
    as_json: Json = False,
) -> None:
    """Plans a trial: how many contacts and days it takes to see the effect. Nothing changes until it is started."""
    from firstring.routing.trial.plan import basis_stated, draft_from_toml
    from firstring.settings import load
    from firstring.store.routing.trials import plan as planned

    draft = draft_from_toml(texts_of([file])[0][1], file=str(file), base=policy_of(load()))
    basis = basis_stated(draft, mean, per_day)

    async def work() -> Any:
        async with store() as opened, opened.database.transaction(opened.tenant.tenant_id) as connection:
            return await planned(
                connection, opened.tenant, draft, now=SystemClock().now(), by=getpass.getuser(), basis=basis
            )

    made = run(work())
    if as_json:
        typer.echo(msgspec.json.encode(msgspec.structs.replace(made, salt="")).decode())  # nobody draws beforehand
        return
    _print(f"{draft.name}: {made.contacts:,} contacts, {made.days:.1f} days at {made.basis.per_day:,.0f} a day")
    _print(
        f"to see {draft.metric} change by {draft.detect:.1%} of {made.basis.mean:.4g} with a power of {draft.power:.0%}, "
        f"{draft.share:.0%} of them in the treatment"
    )
    if draft.kind == "switchback":
        _print(f"chance decides anew every {draft.interval_s:,.0f} s; that makes it {made.design:.2f} times as long")
    for guard in draft.guards:
        _print(f"it stops where {guard.metric} is worse by more than {guard.worse_by:g}")
    _print(f"start it: firstring trial start {draft.name}")


@trial_app.command("start")
def start(name: Annotated[str, typer.Argument(help="The trial's name.")]) -> None:
    """Starts a planned trial; running servers hear it at once. One runs at a time."""
    from firstring.store.routing.trials import start as started

    async def work() -> Any:
        async with store() as opened, opened.database.transaction(opened.tenant.tenant_id) as connection:
            return await started(connection, opened.tenant, name, now=SystemClock().now(), origin=_BY)

    made = run(work())
    _print(f"{name} runs: {made.contacts:,} contacts, about {made.days:.1f} days")


@trial_app.command("stop")
def stop(
    name: Annotated[str, typer.Argument(help="The trial's name.")],
    because: Annotated[str, typer.Option(help="Why.")] = "by hand",
) -> None:
    """Stops a trial that runs, or drops one that was only planned."""
    from firstring.store.routing.trials import stop as stopped

    async def work() -> TrialLine:
        async with store() as opened, opened.database.transaction(opened.tenant.tenant_id) as connection:
            return await stopped(connection, opened.tenant, name, now=SystemClock().now(), because=because[:200], origin=_BY)

    line: TrialLine = run(work())
    _print(f"{name}: {'dropped' if line.state == 'planned' else line.state}")


@trial_app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="The trial's name; none: all of them.")] = "",
    as_json: Json = False,
) -> None:
    """Lists trials, or shows one: its guard rails while it runs, the uplift with its interval once it is over."""
    if not name:
        _list(as_json)
        return
    one = run(_looked_at(name))
    if as_json:
        typer.echo(msgspec.json.encode(one).decode())
        return
    _print(f"{one.name}: {one.state}" + (f" ({one.stopped_because})" if one.stopped_because else ""))
    _print(f"{one.kind}, for {one.metric}; {one.counted or 0:,} of {one.planned:,} contacts")
    if one.state == "running":
        _show_guards(one.guards)
    if one.result is None:
        _print("the uplift is shown once it is over" if one.state == "running" else "it has not been started")
        return
    _show_result(one.result)


async def _looked_at(name: str) -> TrialShown:
    from firstring.store.routing.looking import trial_looked_at

    async with store() as opened:
        return await trial_looked_at(opened.database, opened.tenant, name, SystemClock().now())


def _list(as_json: bool) -> None:
    from firstring.store.routing.looking import trials_shown

    async def work() -> list[TrialShown]:
        async with store() as opened:
            return await trials_shown(opened.database, opened.tenant)

    lines = run(work())
    if as_json:
        typer.echo(msgspec.json.encode(lines).decode())
        return
    table = Table("trial", "kind", "metric", "state", "contacts", "started", "because")
    for line in lines:
        started = "" if line.started_at is None else f"{line.started_at:%Y-%m-%d %H:%M}"
        contacts = f"{line.planned:,}"
        table.add_row(line.name, line.kind, line.metric, line.state, contacts, started, line.stopped_because or "")
    out.print(table)


def _show_guards(guards: tuple[GuardShown, ...]) -> None:
    table = Table("guard rail", "", "worse by at least", "at most", "allowed")
    for guard in guards:
        holds = "holds" if guard.holds else "broken"
        table.add_row(guard.metric, holds, _number(guard.low, 4), _number(guard.high, 4), f"{guard.allowed:g}")
    out.print(table)


def _show_result(result: ResultShown) -> None:
    table = Table("", "control", "treatment", "difference", "95 % from", "to", "relative", "from", "to", "contacts")
    for one in (result.main, *result.others):
        table.add_row(*_cells(one))
    out.print(table)
    _print(f"it was planned for {result.main.metric}; the other lines were not, and of many lines one differs by chance")
    for warning in result.warnings:
        _warn(warning)


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:+.{digits}f}"


def _cells(one: MetricShown) -> list[str]:
    digits = 1 if one.metric.endswith("_s") else 4

    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.{digits}f}"

    def share(value: float | None) -> str:
        return "" if value is None else f"{value:+.1%}"

    difference = one.difference
    return [
        one.metric, number(one.control.value), number(one.treatment.value), number(difference.value), number(difference.low),
        number(difference.high), share(one.relative.value), share(one.relative.low), share(one.relative.high),
        f"{one.contacts[0]:,} / {one.contacts[1]:,}",
    ]  # fmt: skip
