"""Is it really them: the probability of an impostor, what it looks like, what to ask for (facts: docs/trust.md).

A mixture of archetypes (after Freeman et al., NDSS 2016, with attackers told apart):

    score = logit(prior) + log sum_t w_t prod_k p(x_k | t) - log sum_s v_s prod_k p(x_k | s)

over attackers t and honest people s. Because an attacker who copies the number is in the mixture, a match does not buy
unlimited trust; `floor` states the limit. The reasons' weights (nats) add up to the score.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from firstring.contact import (
    Assurance,
    Candidate,
    Channel,
    Evidence,
    LikelyReason,
    Read,
    Reason,
    Resolution,
    SignatureCheck,
)
from firstring.trust import stepup
from firstring.trust.priors import DEFAULT_PRIORS, Signature, TrustPriors
from firstring.trust.signals import Signals, observe

__all__ = ["DEFAULT_PRIORS", "TrustPriors", "assess"]

_NUMBER_TEXT: Final = {
    "known": "They come from a number or address that is on file for this person alone.",
    "shared": "They come from a number or address on file for this person and for others.",
    "unknown": "They come from a number or address that is not on file for this person.",
    "absent": "The number is withheld.",
    "unusable": "What was shown as the number is none.",
}
_SIGNATURE_TEXT: Final = {
    "attested_a": "Their carrier vouches for the number (attestation A). It does not say who is on the phone.",
    "attested_b": "Their carrier knows the customer but not the right to the number (attestation B).",
    "failed": "The signature of the call is wrong",
    "not_checked": "Nobody vouches for the number",
    "no_support": "The signature holds, but vouches for no number of this person. It counts neither way.",
}
_LOOKS_LIKE: Final = {
    "naive": "somebody on a phone of their own",
    "spoofed_number": "somebody who shows the customer's number",
    "household_member": "somebody from the same household",
}


def assess(
    evidence: Evidence,
    candidate: Candidate | None,
    resolution: Resolution,
    read: Read,
    *,
    priors: TrustPriors,
    now: datetime,
    channel: Channel = "voice",
    reasons: Sequence[LikelyReason] = (),
) -> Assurance:
    """How likely the contact is an impostor, if it claims to be `candidate` (None: nobody is known). Pure.

    now: the moment of the decision (the signals so far do not depend on it, those that look at recent changes will).
    channel: withheld numbers are judged on "voice" only. reasons: what they probably want,
    which counts for what is at stake where they did not say it. Raises nothing of its own; a signal that is missing or
    failed to be checked leaves the probability where it was or raises it.
    """
    del now
    signals = observe(evidence, candidate, resolution, read, channel=channel)
    attackers = _weigh(priors.attackers, signals, priors, with_signature=False)
    honest = _weigh(priors.honest if candidate else priors.honest_unknown, signals, priors, with_signature=False)
    by_number = math.log(sum(attackers.values())) - math.log(sum(honest.values()))
    attackers = _weigh(attackers, signals, priors, with_signature=True)
    honest = _weigh(honest, signals, priors, with_signature=True)
    by_all = math.log(sum(attackers.values())) - math.log(sum(honest.values()))
    attested = signals.signature in ("attested_a", "attested_b")
    floor = math.log(priors.floor_attested if attested else priors.floor)

    prior = math.log(priors.impostor) - math.log1p(-priors.impostor)
    impostor = _probability(prior + max(by_all, floor))
    attackers = _share(attackers, impostor)
    archetypes = attackers | _share(honest, 1.0 - impostor)
    return Assurance(
        person_id=candidate.person_id if candidate else None,
        impostor=impostor,
        basis="prior",
        looks_like=max(archetypes, key=archetypes.__getitem__),
        ask=stepup.choose(candidate, attackers, evidence.intent, priors=priors, reasons=reasons),
        model_version=priors.version,
        archetypes=tuple(archetypes.items()),
        reasons=_reasons(signals, priors, prior, by_number, by_all - by_number, floor - by_all, attackers),
    )


def _weigh(weights: Mapping[str, float], signals: Signals, priors: TrustPriors, *, with_signature: bool) -> dict[str, float]:
    """Weights times the likelihood of one signal, for each archetype."""
    if with_signature:
        likelihood = priors.signature[signals.signature]
        return {name: weight * likelihood[name] for name, weight in weights.items()}
    if signals.number == "not_applicable":
        return dict(weights)
    return {name: weight * priors.number[name][signals.number] for name, weight in weights.items()}


def _probability(score: float) -> float:
    """The logistic function, without overflow for any score."""
    if score >= 0:
        return 1.0 / (1.0 + math.exp(-score))
    odds = math.exp(score)
    return odds / (1.0 + odds)


def _share(weights: Mapping[str, float], total: float) -> dict[str, float]:
    whole = sum(weights.values())
    return {name: total * weight / whole for name, weight in weights.items()}


def _reasons(
    signals: Signals,
    priors: TrustPriors,
    prior: float,
    number: float,
    signature: float,
    below_floor: float,
    attackers: Mapping[str, float],
) -> tuple[Reason, ...]:
    """Every term of the score with its weight, then what an impostor would most likely be (without a weight)."""
    reasons = [Reason("prior", f"Before anything is known: 1 in {1 / priors.impostor:.0f}.", prior)]
    if signals.number != "not_applicable":
        reasons.append(Reason(f"number_{signals.number}", _NUMBER_TEXT[signals.number], number, "number"))
    if signals.check is not None:
        reasons.append(_signature_reason(signals.signature, signals.check, signature))
    if below_floor > 0:
        reasons.append(Reason("floor", "What can be copied does not make it safer than this.", below_floor))
    likeliest = max(attackers, key=attackers.__getitem__)
    text = f"If it is not them, it is most likely {_LOOKS_LIKE.get(likeliest, likeliest)}."
    reasons.append(Reason(f"if_impostor_{likeliest}", text))
    return tuple(reasons)


def _signature_reason(signature: Signature, check: SignatureCheck, weight: float) -> Reason:
    code = "no_support" if signature == "not_checked" and check.verstat == "TN-Validation-Passed" else signature
    text = _SIGNATURE_TEXT[code]
    if not text.endswith("."):
        text += f" ({check.reason})." if check.reason else "."
    return Reason(f"signature_{code}", text, weight, "signature")
