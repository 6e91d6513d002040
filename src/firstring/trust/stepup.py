"""What to ask for: probability times what is at stake, against the bother to an honest customer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from firstring.contact import Candidate, LikelyReason, StepUp
from firstring.trust.priors import Stake, TrustPriors

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
    candidate: Candidate | None,
    attackers: Mapping[str, float],
    intent: str | None,
    *,
    priors: TrustPriors,
    reasons: Sequence[LikelyReason] = (),
) -> StepUp:
    """The one check worth adding, or none.

    attackers: posterior probability of each attacking archetype; they sum to the probability of an impostor. intent: a
    key of `priors.stakes`; any other, and None, has the stake of "unknown". A step-up is due when p x loss exceeds the
    friction; the method is the one that saves most (p x share stopped x loss - cost). reasons: guesses what they want,
    where nobody said it.
    """
    stake = stake_of(intent, priors) if intent else likely_stake(reasons, priors)
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


def stake_of(intent: str, priors: TrustPriors) -> Stake:
    """What an intent can cost; of "address_change.by_mail" that of "address_change"; else that of "unknown"."""
    name = intent.strip().lower().replace(" ", "_").replace("-", "_")
    return priors.stakes.get(name) or priors.stakes.get(name.partition(".")[0]) or priors.stakes["unknown"]


def likely_stake(reasons: Sequence[LikelyReason], priors: TrustPriors) -> Stake:
    """What is to be expected of guesses. A guess never makes the stake lower than not knowing does."""
    unknown = priors.stakes["unknown"]
    stakes = [(reason.probability, stake_of(reason.intent, priors)) for reason in reasons]
    loss = sum(probability * stake.loss for probability, stake in stakes)
    if loss <= unknown.loss:
        return unknown
    return Stake(loss=loss, friction=sum(probability * stake.friction for probability, stake in stakes))
