"""What must hold for any evidence and any table of priors."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from firstring.contact import (
    Assurance,
    Candidate,
    Evidence,
    FanOut,
    Identifier,
    Read,
    RecordRead,
    Resolution,
    SignatureCheck,
)
from firstring.trust.priors import DEFAULT_PRIORS, NUMBERS, SIGNATURES, TrustPriors
from firstring.trust.score import assess

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PHONE, OTHER = Identifier("phone", "+15551234567"), Identifier("phone", "+15559999999")

CHECKS = {
    "attested_a": SignatureCheck("TN-Validation-Passed", attestation="A"),
    "attested_b": SignatureCheck("TN-Validation-Passed", attestation="B"),
    "not_checked": None,
    "failed": SignatureCheck("TN-Validation-Failed", reason="bad_signature", sip_code=438),
}


def judged(number: str, signature: str, priors: TrustPriors, intent: str | None = None) -> Assurance:
    persons = 2 if number == "shared" else 1
    records = (RecordRead(1, 1, 7, "crm", {}, (PHONE,)),)
    evidence = Evidence(
        identifiers={"absent": (), "unusable": (), "unknown": (OTHER,)}.get(number, (PHONE,)),
        caller_number=number if number in ("absent", "unusable") else "shown",  # type: ignore[arg-type]
        signature=CHECKS[signature],
        intent=intent,
    )
    candidate = Candidate(7, 0.9, profile={"phone": [PHONE.value]})
    read = Read(records=records, fan_out=(FanOut(PHONE, persons, persons),))
    return assess(evidence, candidate, Resolution((candidate,), 0.1, 0.0, "prior", "v"), read, priors=priors, now=NOW)


def _distribution(names: tuple[str, ...]) -> st.SearchStrategy[dict[str, float]]:
    weights = st.lists(st.floats(1e-6, 1), min_size=len(names), max_size=len(names))
    return weights.map(lambda values: {n: v / math.fsum(values) for n, v in zip(names, values, strict=True)})


ATTACKERS, HONEST = tuple(DEFAULT_PRIORS.attackers), tuple(DEFAULT_PRIORS.honest)
EVERYBODY = (*ATTACKERS, *HONEST, *DEFAULT_PRIORS.honest_unknown)
tables = st.builds(
    lambda impostor, attackers, honest, rows, signature, floors: msgspec.structs.replace(
        DEFAULT_PRIORS,
        impostor=impostor,
        attackers=attackers,
        honest=honest,
        number=dict(zip(EVERYBODY, rows, strict=True)),
        signature=signature,
        floor=max(floors),
        floor_attested=min(floors),
        version="",
    ),
    impostor=st.floats(1e-6, 0.999),
    attackers=_distribution(ATTACKERS),
    honest=_distribution(HONEST),
    rows=st.lists(_distribution(NUMBERS), min_size=len(EVERYBODY), max_size=len(EVERYBODY)),
    signature=st.fixed_dictionaries(
        {
            value: st.fixed_dictionaries(
                {name: st.just(1.0) if value == "not_checked" else st.floats(1e-6, 100) for name in EVERYBODY}
            )
            for value in SIGNATURES
        }
    ),
    floors=st.tuples(st.floats(1e-3, 1), st.floats(1e-3, 1)),
)
numbers, signatures = st.sampled_from(NUMBERS), st.sampled_from(SIGNATURES)


@given(numbers, numbers, signatures, signatures)
def test_more_mismatch_never_lowers_the_risk(number: str, worse: str, signature: str, failed: str) -> None:
    if NUMBERS.index(worse) < NUMBERS.index(number):  # type: ignore[arg-type]
        number, worse = worse, number
    if SIGNATURES.index(failed) < SIGNATURES.index(signature):  # type: ignore[arg-type]
        signature, failed = failed, signature
    better = judged(number, signature, DEFAULT_PRIORS).impostor
    assert judged(worse, failed, DEFAULT_PRIORS).impostor >= better - 1e-15


@given(numbers, signatures, tables)
def test_terms_add_up_and_archetypes_sum_to_one(number: str, signature: str, priors: TrustPriors) -> None:
    result = judged(number, signature, priors)
    assert 0 < result.impostor < 1
    score = math.fsum(reason.weight for reason in result.reasons if reason.weight is not None)
    assert abs(1 / (1 + math.exp(-score)) - result.impostor) < 1e-9
    if result.impostor < 0.999:  # nearer to one, a double cannot tell the odds that closely
        assert abs(score - math.log(result.impostor / (1 - result.impostor))) < 1e-9
    archetypes = dict(result.archetypes)
    assert abs(math.fsum(archetypes.values()) - 1) < 1e-9
    assert abs(math.fsum(archetypes[name] for name in ATTACKERS) - result.impostor) < 1e-9
    assert result.looks_like == max(archetypes, key=archetypes.__getitem__)


@given(numbers, signatures, tables)
def test_it_is_bayes_rule_above_the_floor(number: str, signature: str, priors: TrustPriors) -> None:
    """Against the joint distribution written out."""
    effective = signature if number in ("known", "shared") or signature == "failed" else "not_checked"
    joint = {name: priors.impostor * weight for name, weight in priors.attackers.items()}
    joint |= {name: (1 - priors.impostor) * weight for name, weight in priors.honest.items()}
    for name in joint:
        joint[name] *= priors.number[name][number] * priors.signature[effective][name]
    expected = math.fsum(joint[name] for name in ATTACKERS) / math.fsum(joint.values())
    floor = priors.floor_attested if effective.startswith("attested") else priors.floor
    least = floor * priors.impostor / (1 - priors.impostor)
    result = judged(number, signature, priors)
    assert math.isclose(result.impostor, max(expected, least / (1 + least)), rel_tol=1e-9)


@given(numbers, signatures, tables, st.sampled_from([*DEFAULT_PRIORS.stakes, None, "else"]))
def test_a_check_is_asked_for_exactly_when_the_stake_exceeds_the_friction(
    number: str, signature: str, priors: TrustPriors, intent: str | None
) -> None:
    result = judged(number, signature, priors, intent)
    stake = priors.stakes.get(intent or "unknown", priors.stakes["unknown"])
    at_stake = result.impostor * stake.loss
    if not math.isclose(at_stake, stake.friction, rel_tol=1e-9):
        assert (result.ask.method != "none") == (at_stake > stake.friction)
    assert result.ask.text
