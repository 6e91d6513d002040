"""What recognising callers is worth is measured by withholding it from some of them, by chance (docs/trials.md).

From whom it is withheld, nobody is told who it is, and nothing is decided by it: the agent's pop, the next action and the
choice of the agent are those of somebody unknown. What was found out stays in the decision, and is judged (trust) as ever.
Whether it may be withheld from a contact follows from what is known of it alone, in both arms alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from firstring.contact import Assurance, Contact, Decision, Evidence, Journey, Reason, Resolution, TouchRead
from firstring.identity.caller.resolver import standing
from firstring.routing.may.history import COMPLAINT

WITHHELD: Final = Reason("recognition_withheld", "By chance nobody is told who it is: a trial of what that saves")
CALL_BACK: Final = "callback"
"""The adapter of calls that we make: whom we promised to call is known."""


def never_withheld(
    contact: Contact,
    evidence: Evidence,
    resolution: Resolution,
    assurances: Sequence[Assurance],
    journeys: Sequence[Journey],
    touches: Sequence[TouchRead],
    issues_cut: Sequence[int],
    *,
    tiers: Mapping[str, object],
    threshold: float,
) -> str:
    """Why recognition is never withheld from this contact, as a code; "" where it may be.

    tiers: those that bring something (`[routing.tiers]`); threshold: from this probability on somebody is identified.
    """
    if standing(resolution, threshold) != "identified":
        return "not_recognised"
    if evidence.told or evidence.claims or evidence.confirmed_person is not None:
        return "said"  # they said it themselves, or an agent knows it: nothing is left to withhold
    if contact.adapter == CALL_BACK:
        return "call_back"
    if evidence.directions is not None:
        return "directed"
    people = {candidate.person_id for candidate in resolution.candidates}
    if any(str(candidate.profile.get("tier") or "").strip().lower() in tiers for candidate in resolution.candidates):
        return "tier"
    if any(issue.kind == COMPLAINT for journey in journeys for issue in journey.open_issues) or people & {*issues_cut}:
        return "complaint"
    if any(touch.issue_kind == COMPLAINT for touch in touches):
        return "complaint"  # settled too: they never come back to whom they complained about
    if any(assurance.ask.method != "none" for assurance in assurances):
        return "step_up"
    return ""


def as_unknown(resolution: Resolution) -> Resolution:
    """The same contact with nobody known."""
    return Resolution(
        candidates=(),
        someone_new=1.0,
        another_in_household=0.0,
        basis=resolution.basis,
        model_version=resolution.model_version,
        hot=resolution.hot,
    )


def shown(decision: Decision) -> Decision:
    """A decision as people and other programs may see it: without who it is, where that is withheld."""
    derived = decision.derived
    if derived.recognition != "withheld":
        return decision
    known = as_unknown(derived.resolution)
    return msgspec.structs.replace(
        decision, derived=msgspec.structs.replace(derived, resolution=known, assurances=(), journeys=())
    )
