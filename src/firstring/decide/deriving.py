"""Who, why, sure, what now, whom: read `derive` from top to bottom and you know the product."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, NamedTuple

import msgspec

from firstring.contact import (
    AgentProfile,
    Assurance,
    Candidate,
    Contact,
    Derived,
    Evidence,
    Journey,
    LikelyReason,
    Read,
    Resolution,
    TouchRead,
)
from firstring.decide.models import Models
from firstring.identity.caller.resolver import resolve
from firstring.identity.caller.weights import Weights
from firstring.identity.golden.rules import DEFAULT as DEFAULT_RULES
from firstring.identity.golden.rules import Rules
from firstring.journey import timeline
from firstring.journey.attention import contact_priors
from firstring.journey.words.textmodel import Heard
from firstring.nextbest.arbitrate import choose
from firstring.nextbest.holdout import held_out
from firstring.nextbest.incontact import moment_in
from firstring.nextbest.learning.thompson import draws_of
from firstring.nextbest.moment import Moment
from firstring.routing.may.memo import EligibilityMemo
from firstring.routing.may.needs import needed
from firstring.routing.may.packed import count
from firstring.routing.pick.assign import rank
from firstring.routing.pick.beside import Beside
from firstring.routing.pick.elsewhere import placed
from firstring.routing.pick.live import matching_of
from firstring.routing.trial.recognise import WITHHELD, as_unknown, never_withheld
from firstring.trust.score import assess

Profiles = Mapping[tuple[int, int], AgentProfile]


def derive(
    contact: Contact,
    evidence: Evidence,
    read: Read,
    profiles: Profiles,
    models: Models,
    *,
    now: datetime,
    waited_s: float = 0.0,
    excluded: Sequence[int] = (),
    preferred: Sequence[int] = (),
    hold_until: datetime | None = None,
    keep: bool = False,
    memo: EligibilityMemo | None = None,
) -> Derived:
    """Who, why, sure, what now, whom. Pure and deterministic.

    profiles: the agents of `read.agents` by (agent_id, version). excluded: agents who did not take this contact. preferred:
    to whom a batch over all that wait gave it. hold_until: until when the contact may be held for somebody better.
    keep: somebody has the contact, or it is at a place, and stays there.
    memo: makes whom quicker and changes nothing.
    """
    found = _found(contact, evidence, read, models, now)

    # known: what all that follows goes by; of somebody from whom recognition is withheld, nothing
    recognition = _recognition(contact, evidence, read, found, models)
    known = _nobody(contact, evidence, read, found, models, now) if recognition == "withheld" else found

    # what now: gates first, then the one next action
    action = choose(
        known.journeys,
        known.resolution,
        known.assurances,
        channel=contact.channel,
        actions=models.actions,
        now=now,
        identify_threshold=models.identify_threshold,
        moment=_moment(contact, read, known.resolution, models, now),
        learned=models.learned,
    )

    # whom: what the contact needs, and who of those that are free can give it
    need = needed(
        contact,
        known.resolution,
        known.journeys,
        policy=models.routing,
        intent=evidence.intent,
        preferred=preferred,
        excluded=excluded,
        touches=known.touches,
        directions=evidence.directions,
        now=now,
        waited_s=waited_s,
        overflowed=evidence.overflowed,
        around=read.around,
    )
    matching = matching_of(
        contact,
        known.resolution,
        known.assurances,
        known.journeys,
        known.touches,
        intent=evidence.intent,
        policy=models.routing,
        fit=models.fit,
        live=models.live,
        key=models.holdout_key,
    )
    routing = rank(
        need.need,
        read.agents,
        profiles,
        now=now,
        waited_s=waited_s,
        policy=models.routing.version,
        reasons=(WITHHELD, *need.reasons) if recognition == "withheld" else need.reasons,
        memo=memo,
        matching=matching,
        beside=Beside(read.busy, read.waiting, hold_until),
    )
    # or no agent: self-service that is worth more, a place for what nobody may serve or waits too long for
    routing = placed(
        routing,
        contact,
        evidence,
        known.resolution,
        known.assurances,
        known.journeys,
        policy=models.routing,
        fit=models.fit,
        live=models.live,
        weight=1.0 if matching is None else matching.weight,
        around=read.around,
        keep=keep,
    )
    return Derived(found.resolution, found.assurances, found.journeys, action, routing, models.versions(), recognition)


class Known(NamedTuple):
    """Who it is, how sure that is, what they have been through: what the next action and the choice of an agent go by."""

    resolution: Resolution
    assurances: tuple[Assurance, ...]
    journeys: tuple[Journey, ...]
    touches: Sequence[TouchRead]


def _found(contact: Contact, evidence: Evidence, read: Read, models: Models, now: datetime) -> Known:
    """Who, why, sure."""
    # who: probability of each person, of another in the household, of someone new
    heard = models.reasons.heard(evidence.words) if models.reasons is not None and evidence.words else None
    resolution = who(evidence, read, weights=models.weights, now=now, rules=models.survivorship, heard=heard)

    # why: what each of them has been through, what is open, why they are probably calling
    people = [candidate.person_id for candidate in resolution.candidates]
    if resolution.household is not None:
        people += [member for member in resolution.household.members if member not in people]
    touches, issues_cut = _with_traces(read, resolution)
    journeys = timeline.journeys(people, touches, now=now, issues_cut=issues_cut, said=evidence.intent, heard=heard)

    # sure: is it really them, whoever of them it is
    assurances = tuple(
        _sure(contact, evidence, read, resolution, candidate, models, now, reasons=_reasons_of(candidate, journeys))
        for candidate in (resolution.candidates or (None,))
    )
    return Known(resolution, assurances, journeys, touches)


def _nobody(contact: Contact, evidence: Evidence, read: Read, found: Known, models: Models, now: datetime) -> Known:
    """What would be known of somebody whom nothing was known of."""
    resolution = as_unknown(found.resolution)
    return Known(resolution, (_sure(contact, evidence, read, resolution, None, models, now),), (), ())


def _sure(
    contact: Contact,
    evidence: Evidence,
    read: Read,
    resolution: Resolution,
    candidate: Candidate | None,
    models: Models,
    now: datetime,
    *,
    reasons: Sequence[LikelyReason] = (),
) -> Assurance:
    return assess(
        evidence,
        candidate,
        resolution,
        read,
        priors=models.trust,
        now=now,
        channel=contact.channel,
        reasons=reasons,
    )


def _recognition(
    contact: Contact,
    evidence: Evidence,
    read: Read,
    found: Known,
    models: Models,
) -> Literal["", "shown", "withheld"]:
    """Whether who it is may be withheld, and is."""
    never = never_withheld(
        contact, evidence, found.resolution, found.assurances, found.journeys, read.touches, read.issues_cut,
        tiers=models.routing.tiers, threshold=models.identify_threshold,
    )  # fmt: skip
    if never:
        return ""
    return "shown" if models.routing.recognise else "withheld"


def _moment(contact: Contact, read: Read, resolution: Resolution, models: Models, now: datetime) -> Moment:
    """What actions are chosen by, beside the contact. Where a policy was loaded also whether the likeliest person is held
    out of offers, and chance, which is the contact's own: the same in each of its decisions."""
    if not models.holdout_key:
        return moment_in(contact, read, resolution, models.actions, now, threshold=models.identify_threshold)
    policy = models.actions.policy
    best = resolution.best
    own = () if best is None else [record.record_id for record in read.records if record.person_id == best.person_id]
    return moment_in(
        contact,
        read,
        resolution,
        models.actions,
        now,
        threshold=models.identify_threshold,
        agents=count(read.agents),
        held_out=held_out(own, models.holdout_key, policy.holdout),
        draws=draws_of(models.holdout_key + contact.contact_id.bytes, policy.explored),
    )


def who(
    evidence: Evidence,
    read: Read,
    *,
    weights: Weights,
    now: datetime,
    rules: Rules = DEFAULT_RULES,
    heard: Heard | None = None,
) -> Resolution:
    """Who it is. The journey says who of those behind a number has a reason to call just now, and whose reason their
    words are (heard). Pure."""
    priors = contact_priors({record.person_id for record in read.records}, read.touches, now=now, heard=heard)
    return resolve(evidence, read, weights=weights, now=now, priors=priors, rules=rules)


def _reasons_of(candidate: Candidate | None, journeys: Sequence[Journey]) -> Sequence[LikelyReason]:
    person_id = None if candidate is None else candidate.person_id
    return next((journey.likely_reasons for journey in journeys if journey.person_id == person_id), ())


def _with_traces(read: Read, resolution: Resolution) -> tuple[Sequence[TouchRead], Sequence[int]]:
    """Touches and cut lists of issues, those of unnamed persons counted for every candidate whom they may be."""
    if not resolution.unnamed:
        return read.touches, read.issues_cut
    touches = [
        msgspec.structs.replace(touch, person_id=host)
        for touch in read.touches
        for host in resolution.unnamed.get(touch.person_id, ())
    ]
    cut = [host for person in read.issues_cut for host in resolution.unnamed.get(person, ())]
    return (*read.touches, *touches), (*read.issues_cut, *cut)
