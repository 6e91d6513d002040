"""What `firstring link` and `firstring train` do, and what they say on a console while they do it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table as Shown

from firstring.bulk.importing.load import show_map
from firstring.bulk.linking.gathering import Gathered, gather, sources
from firstring.bulk.linking.labelling import read_labels, show_labels
from firstring.bulk.linking.link import (
    Linked,
    check_output,
    compare,
    linked,
    model_of,
    persons,
    whole,
    working_folder,
    write_pairs,
    write_persons,
)
from firstring.bulk.linking.pairs import Pairs
from firstring.bulk.linking.plan import Plan, make_plan
from firstring.bulk.linking.suspects import show_suspects
from firstring.errors import BadInput
from firstring.identity.comparison.spec import PERSON, Spec
from firstring.identity.comparison.specfile import spec_of
from firstring.identity.model.labels import relabelled
from firstring.identity.model.model import Model, as_json, from_json
from firstring.identity.persons.guards import SAYS
from firstring.ports import Clock, SystemClock

_LINE_EVERY_S: Final = 5.0
ENGINES: Final = ("duckdb",)
"""What gathers and joins pairs. The plan names none: another engine comes in beside `Pairs`."""
LABELS_THRESHOLD: Final = 0.95
"""Probability at which it is told how many pairs the labels move across."""
PAIRS_FROM: Final = 0.5
"""Probability from which on a pair is written to PAIRS."""


def run_link(
    files: Sequence[Path],
    map_path: Path | None,
    *,
    country: str,
    threshold: float,
    out: Path | None,
    pairs_path: Path | None,
    model_path: Path | None,
    spec_path: Path | None = None,
    plan_only: bool,
    memory_mb: int,
    engine: str = ENGINES[0],
    console: Console,
    clock: Clock | None = None,
) -> Linked | None:
    """Links files; None with plan_only. Raises BadInput before anything is compared where it can."""
    if engine not in ENGINES:
        where = {"argument": "engine"}
        raise BadInput("engine_unknown", f"There is no engine {engine}.", where=where, hint=f"One of: {', '.join(ENGINES)}.")
    if not 0.0 < threshold < 1.0:
        raise BadInput("threshold_invalid", "A threshold lies between 0 and 1.", where={"argument": "threshold"})
    if out is None and not plan_only:
        raise BadInput("argument_missing", "Where shall the persons go?", where={"argument": "out"}, hint="Give --out.")
    for path in (out, pairs_path):
        if path is not None:
            check_output(path)
    model = model_in(model_path) if model_path else None
    spec = _spec(spec_path, model)
    told = Told(console, clock or SystemClock())
    with told, _said_when_interrupted(console):
        gathered, plan = _gathered(files, map_path, country, spec, console, told)
        if plan_only:
            show_suspects(console, gathered.table, spec.block_records)
            return None
        with working_folder() as folder:
            pairs = Pairs(folder, memory_mb=memory_mb, threads=os.cpu_count() or 1)
            try:
                if model is None:
                    model = model_of(plan, gathered.table, pairs, spec, told)
                else:
                    compare(plan, model.comparisons(), gathered.table, pairs, told)
                pairs.score(model, gathered.table.rows)
                told("clustering", 0, 1)
                person, held = persons(gathered, pairs, model, threshold)
                told("clustering", 1, 1)
                with whole(out, pairs_path) as (persons_part, pairs_part):
                    write_persons(persons_part, gathered, person)
                    written = write_pairs(pairs_part, gathered, pairs, model, PAIRS_FROM) if pairs_path else 0
                report = linked(gathered, pairs, person, model, written)
            finally:
                pairs.close()
    console.print(
        f"{report.records:,} records are {report.persons:,} persons, the largest of {report.largest_person:,}; "
        f"{report.candidate_pairs:,} pairs compared; {report.model_version}",
        highlight=False,
    )
    for code, count in sorted(held.items()):
        console.print(f"{count:,} merges held back ({code}): {SAYS[code]}", highlight=False, soft_wrap=True)
    return report


@contextmanager
def _said_when_interrupted(console: Console) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        console.print("Interrupted: no output was written.", highlight=False)
        raise


def run_train(
    files: Sequence[Path],
    map_path: Path | None,
    out: Path,
    *,
    country: str,
    memory_mb: int,
    console: Console,
    spec_path: Path | None = None,
    labels_path: Path | None = None,
    clock: Clock | None = None,
) -> Model:
    """Trains a model on files, corrects it by labels where there are some, and writes it as JSON."""
    if not out.parent.is_dir():
        raise BadInput("output_folder", "The output's folder is not there.", where={"file": str(out)}, hint="Make it first.")
    spec = _spec(spec_path, None)
    told = Told(console, clock or SystemClock())
    with told:
        gathered, plan = _gathered(files, map_path, country, spec, console, told)
        labels = read_labels(labels_path, gathered) if labels_path else None
        with working_folder() as folder:
            pairs = Pairs(folder, memory_mb=memory_mb, threads=os.cpu_count() or 1)
            try:
                model = model_of(plan, gathered.table, pairs, spec, told)
                if labels is not None:
                    model, report = relabelled(model, gathered.table, labels.labelled, pairs.observed(), LABELS_THRESHOLD)
                    told.settle()
                    show_labels(console, labels, report)
            finally:
                pairs.close()
    part = out.with_name(f".{out.name}.{os.getpid()}")
    part.write_bytes(as_json(model))
    part.replace(out)
    same, household = model.pairs_per_record["same"], model.pairs_per_record["household"]
    console.print(
        f"{model.version}: {model.records:,} records, {same * model.records:,.0f} pairs of one person, "
        f"{household * model.records:,.0f} of one household",
        highlight=False,
    )
    return model


def _spec(path: Path | None, model: Model | None) -> Spec:
    """What is compared: as a file says, as the model was made, or the default."""
    if path is None:
        return model.spec if model else PERSON
    if model is not None:
        message = "A model has its own spec."
        raise BadInput("argument_invalid", message, where={"argument": "spec"}, hint="Leave out --spec or --model.")
    return spec_in(path)


def spec_in(path: Path) -> Spec:
    """A spec in a TOML file. Raises BadInput as specfile.spec_of does, and spec_unreadable."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        where = {"file": str(path)}
        raise BadInput("spec_unreadable", f"The spec cannot be read: {error}.", where=where, hint="It is TOML.") from error
    return spec_of(text, str(path))


def model_in(path: Path) -> Model:
    """A model in a file. Raises BadInput as model.from_json does, and model_missing."""
    try:
        return from_json(path.read_bytes())
    except OSError as error:
        raise BadInput(
            "model_missing",
            f"The model cannot be read: {error.strerror}.",
            where={"file": str(path)},
            hint="Make one: firstring train.",
        ) from error


def _gathered(
    files: Sequence[Path], map_path: Path | None, country: str, spec: Spec, console: Console, told: Told
) -> tuple[Gathered, Plan]:
    given = sources(files, map_path, spec)
    for source in given:
        show_map(console, source.file, source.fields)
    gathered = gather(given, country=country, told=lambda done, whole: told("reading", done, whole))
    plan = make_plan(spec, gathered.table)
    told.settle()
    for code, count in sorted(gathered.unusable.items()):
        console.print(f"{count:,} rows hold nothing to compare ({code}): each is a person of its own", highlight=False)
    show_plan(console, plan)
    return gathered, plan


def show_plan(console: Console, plan: Plan) -> None:
    """The keys, the pairs each makes at most, and the values that are too hot to make any."""
    table = Shown(
        "key", "pairs", "values", "hot values", "their records", "up to", title=f"plan for {plan.records:,} records",
        title_justify="left",
    )  # fmt: skip
    for one in plan.keys:
        hot = (f"{one.hot_values:,}", f"{one.hot_records:,}") if one.hot_values else ("", "")
        table.add_row(one.key.name, f"{one.pairs:,}", f"{one.blocks:,}", *hot, f"{one.block_records} records a value")
    console.print(table)
    console.print(f"at most {plan.pairs:,} pairs, fewer where they meet under several keys", highlight=False)


class Told:
    """Progress on a console: a bar for each step on a terminal, a line every few seconds elsewhere. Use as a context."""

    def __init__(self, console: Console, clock: Clock) -> None:
        self._console = console
        self._clock = clock
        self._said_s = self._began_s = clock.monotonic_s()
        self._step = ""
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def __enter__(self) -> Told:
        return self

    def __exit__(self, *_: object) -> None:
        self.settle()

    def __call__(self, step: str, done: int, whole: int) -> None:
        now_s = self._clock.monotonic_s()
        if step != self._step:
            self.settle()
            self._step, self._began_s = step, now_s
            if self._console.is_terminal:
                self._bar = Progress(TextColumn("{task.description}"), BarColumn(), console=self._console)
                self._task = self._bar.add_task(step, total=whole)
                self._bar.start()
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=max(whole, done))
        elif done >= whole or now_s - self._said_s >= _LINE_EVERY_S:
            self._said_s = now_s
            self._console.print(f"{step}: {done:,} of {whole:,}, {now_s - self._began_s:,.1f} s", highlight=False)

    def settle(self) -> None:
        """Ends the bar of the present step."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
