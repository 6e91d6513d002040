"""What to ask for: probability times what is at stake, against the bother to an honest customer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from firstring.contact import Candidate, StepUp
from firstring.trust.priors import TrustPriors

NONE: Final = StepUp("none", "Nothing more to ask for.")

_TEXT: Final = {
    "confirm_name": "Ask for the full name and date of birth.",
    "knowledge": "Ask something only they should know, such as the last invoice.",
    "one_time_code": "Send a one-time code to the contact on file, and have it read out.",
    "call_back": "Call back on the number on file.",
}
_NEEDS_CONTACT_ON_FILE: Final[Mapping[str, tuple[str, ...]]] = {
    "one_time_code": ("phone", "email"),
    "call_back": ("phone",),
}


def choose(
    candidate: Candidate | None, attackers: Mapping[str, float], intent: str | None, *, priors: TrustPriors
) -> StepUp:
    """The one check worth adding, or none.

    attackers: posterior probability of each attacking archetype; they sum to the probability of an impostor. intent: a
    key of `priors.stakes`; any other, and None, has the stake of "unknown". A step-up is due when p x loss exceeds the
    friction; the method is the one that saves most (p x share stopped x loss - cost).
    """
    name = (intent or "unknown").strip().lower().replace(" ", "_").replace("-", "_")
    stake = priors.stakes.get(name, priors.stakes["unknown"])
    if sum(attackers.values()) * stake.loss <= stake.friction:
        return NONE
    if candidate is None:
        return StepUp("confirm_name", _TEXT["confirm_name"])
    best, most = "confirm_name", float("-inf")
    for method, worth in priors.methods.items():
        on_file = _NEEDS_CONTACT_ON_FILE.get(method)
        if on_file is not None and not any(candidate.profile.get(field) for field in on_file):
            continue
        stopped = sum(probability * worth.stops[archetype] for archetype, probability in attackers.items())
        saved = stopped * stake.loss - worth.cost
        if saved > most:
            best, most = method, saved
    return StepUp(best, _TEXT[best])
