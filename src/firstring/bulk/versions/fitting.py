"""`firstring model fit-rings`: the priors of who rings, fitted to what agents said of the store's own contacts.

An outcome is a contact as it was decided while it rang (evidence, what was read, when), and who it turned out to be: the
person an agent confirmed, or nobody of those on file. It is fitted to the older ones and checked on the newer ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.table import Table

from firstring.contact import Basis, Decision, Evidence
from firstring.errors import BadInput
from firstring.identity.caller.outcomes import ENOUGH, FITTED, OFF, Bin, Check, Outcome, check, fit
from firstring.identity.caller.weights import DEFAULT, TABLE, Weights
from firstring.journey.attention import contact_priors
from firstring.store.database import Connection, Database, Tenant
from firstring.store.queries import sql
from firstring.store.ring import opened_decision
from firstring.store.weighing import put_in_force, refresh

FITTED_SHARE: Final = 0.7
"""Of the outcomes, the older ones; on the rest it is checked."""
LEAST: Final = 50
"""Fewer outcomes say nothing that could be checked."""
SHOWS: Final = 1_000
"""Statements in bins with enough of them, from which on a check can show that something is calibrated."""


class RingFit(msgspec.Struct, frozen=True):
    """A fit and its check. before: the weights in force; basis: calibrated where the check shows it."""

    outcomes: int
    nobody: int
    fitted_to: int
    checked_on: int
    before: Check
    after: Check
    priors: dict[str, float]
    basis: Basis
    version: str

    @property
    def better(self) -> bool:
        return self.after.log_loss < self.before.log_loss


def outcome_of(first: Decision, last: Decision) -> Outcome | None:
    """What a contact teaches: None where nobody said who it was, or nobody on file came into question while it rang."""
    evidence, said = first.evidence, last.evidence
    rang = {record.record_id: record.person_id for record in first.read.records}
    if evidence.confirmed_person is not None or not first.derived.resolution.candidates:
        return None
    people = {one.person_id for one in first.derived.resolution.candidates}
    truth: int | str
    if said.confirmed_person is None:
        if not people <= set(said.ruled_out):
            return None
        truth = "nobody"
    elif said.confirmed_person in people:
        truth = said.confirmed_person
    else:
        # Persons may have been merged or split meanwhile: whose records they had then.
        had = {rang[one.record_id] for one in last.read.records if _is(one.person_id, said) and one.record_id in rang}
        if len(had) > 1:
            return None
        truth = had.pop() if had else "nobody"
    priors = contact_priors(set(rang.values()), first.read.touches, now=first.decided_at)
    return Outcome(evidence, first.read, priors, first.decided_at, truth)


def _is(person: int, said: Evidence) -> bool:
    return person == said.confirmed_person


async def known_outcomes(connection: Connection, tenant: Tenant, at_most: int) -> list[Outcome]:
    """The newest outcomes of the store, oldest first."""
    found = []
    rows = await connection.fetch(sql("weighing", "known_contacts"), tenant.tenant_id, at_most)
    for first, last in pairwise(rows):
        if first["contact_id"] == last["contact_id"] and first["revision"] == 1:
            one = outcome_of(opened_decision(tenant, first), opened_decision(tenant, last))
            if one is not None:
                found.append(one)
    return found


def fit_outcomes(
    outcomes: Sequence[Outcome], now_used: Weights, told: Callable[[int, float], None]
) -> tuple[RingFit, Weights]:
    """Fits to the older outcomes, checks on the newer. Raises BadInput too_few_outcomes."""
    if len(outcomes) < LEAST:
        raise BadInput(
            "too_few_outcomes",
            f"It is known of {len(outcomes)} contacts who it was; {LEAST} are needed.",
            hint="Let agents confirm who it is, or that it is somebody new, whenever they know.",
        )
    cut = int(len(outcomes) * FITTED_SHARE)
    older, newer = outcomes[:cut], outcomes[cut:]
    named = Weights(dict(DEFAULT.values), now_used.fitted)
    found = fit(older, named, told=told)
    after = check(newer, found)
    basis: Basis = "calibrated" if _shown(after.bins) else "fitted"
    weights = Weights(found.values, found.fitted, basis)
    nobody = sum(one.truth == "nobody" for one in outcomes)
    moved = {name: weights[name] for name in FITTED}
    report = RingFit(
        len(outcomes), nobody, len(older), len(newer), check(newer, now_used), after, moved, basis, weights.priors_version
    )
    return report, weights


def _shown(bins: Sequence[Bin]) -> bool:
    told = [one for one in bins if one.statements >= ENOUGH]
    return sum(one.statements for one in told) >= SHOWS and all(abs(one.stated - one.true) <= OFF for one in told)


async def fit_rings(
    database: Database,
    tenant: Tenant,
    *,
    yes: bool,
    at_most: int,
    now: datetime,
    told: Callable[[int, float], None] = lambda _round, _loss: None,
) -> RingFit:
    """Fits to the newest `at_most` contacts of which it is known who it was; `yes` brings the priors into force.

    Raises BadInput too_few_outcomes.
    """
    now_used = await refresh(database, tenant)
    async with database.transaction(tenant.tenant_id) as connection:
        outcomes = await known_outcomes(connection, tenant, at_most)
    report, weights = await asyncio.to_thread(fit_outcomes, outcomes, now_used, told)
    if yes:
        async with database.transaction(tenant.tenant_id) as connection:
            await put_in_force(connection, tenant, weights, as_json(report), now=now, origin="fit-rings")
    return report


async def use_named(database: Database, tenant: Tenant, *, now: datetime) -> None:
    """The named priors are in force again."""
    async with database.transaction(tenant.tenant_id) as connection:
        await put_in_force(connection, tenant, None, {}, now=now, origin="fit-rings")


def as_json(report: RingFit) -> dict[str, Any]:
    """The report, with the worst bins."""
    found: dict[str, Any] = msgspec.to_builtins(report)
    for name, one in (("before", report.before), ("after", report.after)):
        found[name]["worst"] = one.worst
    return found


def say_fit(console: Console, report: RingFit) -> None:
    """Before and after, for people."""
    console.print(
        f"{report.outcomes:,} contacts of which it is known who it was, {report.nobody:,} of them nobody on file; fitted to "
        f"the older {report.fitted_to:,}, checked on the newer {report.checked_on:,}",
        highlight=False,
        soft_wrap=True,
    )
    console.print(
        f"log loss {report.before.log_loss:.4f} -> {report.after.log_loss:.4f} nats"
        + ("" if report.better else ": no better than what is in force"),
        highlight=False,
    )
    shown = Table("stated", "before: statements", "stated", "true", "after: statements", "stated", "true")
    bins = {(one.low, one.high): [one, None] for one in report.before.bins}
    for one in report.after.bins:
        bins.setdefault((one.low, one.high), [None, None])[1] = one
    for (low, high), pair in sorted(bins.items()):
        shown.add_row(f"{low:g}-{high:g}", *(cell for one in pair for cell in _cells(one)))
    console.print(shown)
    priors = Table("prior", "named", "fitted", "unit")
    for name, value in report.priors.items():
        priors.add_row(name, f"{DEFAULT[name]:.3g}", f"{value:.3g}", TABLE[name].unit)
    console.print(priors)
    worst = f"bins of {ENOUGH} statements and more are off by {report.after.worst:.3f} at most"
    console.print(
        f"calibrated: {worst}" if report.basis == "calibrated" else f"fitted, not shown to be calibrated: {worst}",
        highlight=False,
        soft_wrap=True,
    )


def _cells(one: Bin | None) -> tuple[str, str, str]:
    return ("", "", "") if one is None else (f"{one.statements:,}", f"{one.stated:.3f}", f"{one.true:.3f}")
