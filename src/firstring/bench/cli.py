"""Commands that measure: `firstring bench ...`."""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

bench_app = typer.Typer(no_args_is_help=True, help="Benchmarks, each beside its peer in the same run.")
_out = Console()
_err = Console(stderr=True)


def register(app: typer.Typer) -> None:
    """Adds the commands to the program."""
    app.add_typer(bench_app, name="bench")


def _run(work: Coroutine[Any, Any, Any]) -> None:
    import uvloop

    uvloop.run(work)


def _say(text: str) -> None:
    _err.print(text, style="dim", highlight=False, markup=False)


@bench_app.command("ring")
def bench_ring(
    records: Annotated[int, typer.Option(help="Customer records.", min=1_000)] = 1_000_000,
    as_json: Annotated[bool, typer.Option("--json", help="Prints the result as JSON.")] = False,
    seconds: Annotated[int, typer.Option(help="Length of each measurement under load.", min=1, max=600)] = 20,
    seed: Annotated[int, typer.Option(help="Seed of the generator.")] = 1,
    splink: Annotated[bool, typer.Option(help="Also measures Splink's look-up.")] = True,
    keep: Annotated[bool, typer.Option(help="Leaves the home with the database in place.")] = False,
    output: Annotated[Path | None, typer.Option(help="A file that gets the result as JSON.")] = None,
) -> None:
    """Import, decide, resolve, calls and pops at size, with figures."""
    from firstring.bench.ring import run_bench

    _run(run_bench(records=records, as_json=as_json, seconds=seconds, seed=seed, splink=splink, keep=keep, output=output))


@bench_app.command("identity")
def bench_identity(
    records: Annotated[list[int] | None, typer.Option(help="Records in households; several sizes in turn.")] = None,
    data: Annotated[Path | None, typer.Option(help="A folder with Splink's fake_1000.csv and fake_20000.csv.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the generator.")] = 1,
    splink: Annotated[bool, typer.Option(help="Also runs Splink on the same data.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Prints the result as JSON.")] = False,
    store: Annotated[bool, typer.Option("--store", help="Measures the store instead of linking files.")] = False,
    store_records: Annotated[int, typer.Option(help="Records in the store.", min=100)] = 1_000_000,
    one_person: Annotated[int, typer.Option(help="Records of the person a steward works on (--store).", min=20)] = 1_000,
    keep: Annotated[bool, typer.Option(help="Leaves the home with the database in place (--store).")] = False,
    output: Annotated[Path | None, typer.Option(help="A file that gets the result as JSON (--store).")] = None,
) -> None:
    """Linking without labels: accuracy, calibration, time and memory, beside Splink; or the store at size."""
    from firstring.bench.identity import run_bench
    from firstring.bench.identity_store import run_bench as run_store

    if store:
        of = {"records": store_records, "one_person": one_person, "seed": seed}
        _run(run_store(**of, splink=splink, as_json=as_json, keep=keep, output=output))
        return
    run_bench(records=records or [20_000], data_folder=data, seed=seed, splink=splink, as_json=as_json, console=_err)


@bench_app.command("who")
def bench_who(
    households: Annotated[int, typer.Option(help="Households of the town that rings.", min=100)] = 6_000,
    calls: Annotated[int, typer.Option(help="Calls measured.", min=100)] = 20_000,
    outcomes: Annotated[
        int, typer.Option(help="Calls of another town that the priors are fitted to; 0: none.", min=0)
    ] = 3_000,
    seed: Annotated[int, typer.Option(help="Seed of the generator.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Prints the result as JSON.")] = False,
) -> None:
    """Who is ringing, by the number alone and with the journey, beside whoever was seen last; calibration."""
    from firstring.bench.who import run_bench

    run_bench(households=households, calls=calls, outcomes=outcomes, seed=seed, as_json=as_json, console=_err)


@bench_app.command("journey")
def bench_journey(
    events: Annotated[int, typer.Option(help="Events sent in batches.", min=1_000)] = 200_000,
    singles: Annotated[int, typer.Option(help="Events sent one by one.", min=100)] = 20_000,
    users: Annotated[int, typer.Option(help="Users whose events they are.", min=100)] = 20_000,
    patterns: Annotated[bool, typer.Option("--patterns", help="Measures patterns in this process instead.")] = False,
    profile: Annotated[bool, typer.Option("--profile", help="Measures profiles and timelines instead.")] = False,
    painted: Annotated[bool, typer.Option("--painted", help="Measures from event to action on screen instead.")] = False,
    history: Annotated[
        int, typer.Option(help="Events of the back-test (--patterns), or of the store (--profile).", min=1_000)
    ] = 1_000_000,
    seed: Annotated[int, typer.Option(help="Seed of the generator.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Prints the result as JSON.")] = False,
    experience: Annotated[bool, typer.Option("--experience", help="Measures the experience score instead.")] = False,
    people: Annotated[int, typer.Option(help="People of the made world (--experience).", min=1_000)] = 30_000,
    calls: Annotated[Path | None, typer.Option(help="A folder with anonbank_1999_*.txt.gz (--experience).")] = None,
    reasons: Annotated[
        Path | None, typer.Option(help="A folder with train.csv and test.csv (text, category): the text model instead.")
    ] = None,
) -> None:
    """Events into the server, durable when answered: in batches and one by one. Or patterns, experience, reasons."""
    from firstring.bench.ingest import run_bench
    from firstring.bench.journey import run_bench as run_patterns
    from firstring.bench.journey import shown

    if experience:
        from firstring.bench.journey_experience import measured as of_experience

        shown(of_experience(people=people, seed=seed, data=calls, say=_say), f"experience, seed {seed}", as_json=as_json)
        return
    if reasons is not None:
        from firstring.bench.journey_words import measured as of_reasons

        shown(of_reasons(reasons, _say), "reasons and words", as_json=as_json)
        return
    if painted:
        from firstring.bench.journey_painted import run_bench as run_painted

        _run(run_painted(visitors=max(10, singles // 200), as_json=as_json))
        return
    if profile:
        from firstring.bench.journey_profile import run_bench as run_profiles

        _run(run_profiles(events=history, look_ups=max(10, singles // 10), seed=seed, as_json=as_json))
        return
    if patterns:
        run_patterns(events=history, live_events=events, seed=seed, as_json=as_json, console=_err)
        return
    _run(run_bench(events=events, singles=singles, users=users, seed=seed, as_json=as_json))


@bench_app.command("actions")
def bench_actions(
    journeys: Annotated[int, typer.Option(help="Random journeys in which no sale may be offered.", min=1)] = 100_000,
    choices: Annotated[int, typer.Option(help="Choices among 50 actions.", min=100)] = 20_000,
    data: Annotated[
        Path | None, typer.Option(help="A folder with hillstrom.csv.gz, and obd/ of the Open Bandit sample.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the generators.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Prints the result as JSON.")] = False,
) -> None:
    """No sale while an issue is open; how long a choice takes; estimates on logs; offers beside popularity."""
    from firstring.bench.actions import run_bench

    run_bench(journeys=journeys, choices=choices, data=data, seed=seed, as_json=as_json, console=_out)


@bench_app.command("route")
def bench_route(
    seeds: Annotated[int, typer.Option(help="Runs of each of the three worlds.", min=1, max=100)] = 2,
    large: Annotated[bool, typer.Option("--large/--no-large", help="The world of 200 agents too.")] = True,
    processes: Annotated[int, typer.Option(help="Runs at the same time; 0: as many as there are processors.", min=0)] = 0,
    worlds: Annotated[int, typer.Option(help="Worlds of every sort, one run each; 0: none.", min=0, max=10_000)] = 42,
    with_store: Annotated[
        bool, typer.Option("--store/--no-store", help="Durable decisions, in a database of its own.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Prints the result as JSON.")] = False,
) -> None:
    """Whom: the pick beside first come, skills, greedy and batches on simulated worlds; how long a pick takes."""
    from firstring.bench.route import run_bench

    run_bench(
        seeds=seeds,
        large=large,
        processes=processes,
        worlds=worlds,
        with_store=with_store,
        as_json=as_json,
        console=_err,
    )
