"""Every number the judgement of trust rests on, in one named table. They are priors, stated and not fitted.

An archetype is an explanation of a contact. Attackers: `naive` (their own phone, little knowledge), `spoofed_number` (shows
the customer's number), `household_member` (a relative or flatmate, on the customer's own phone). Honest people: `routine`,
`new_or_borrowed_phone`, and `new_customer` where nobody is known. Published figures the table leans on: 1 fraudulent call
in 599 (Pindrop), knowledge questions passed by 53 % of fraudsters and one-time codes by 22 % (Pindrop).
"""

from __future__ import annotations

import hashlib
import math
from typing import Final, Literal

import msgspec

Number = Literal["not_applicable", "known", "shared", "unknown", "absent", "unusable"]
"""The number (or address) they come from, against the person they would be."""
Signature = Literal["not_checked", "attested_a", "attested_b", "failed"]
"""Does the carrier vouch for the number? Everything that says nothing is `not_checked`."""
Method = Literal["confirm_name", "knowledge", "one_time_code", "call_back"]

NUMBERS: Final[tuple[Number, ...]] = ("known", "shared", "unknown", "absent", "unusable")
"""From the best match to the worst; the risk never falls along it."""
SIGNATURES: Final[tuple[Signature, ...]] = ("attested_a", "attested_b", "not_checked", "failed")
"""From the strongest support to the opposite; the risk never falls along it."""


class Stake(msgspec.Struct, frozen=True):
    """What an intent can cost, in one currency: `loss` if an impostor succeeds, `friction` of bothering a customer."""

    loss: float
    friction: float


class MethodWorth(msgspec.Struct, frozen=True):
    """A way of checking: its cost (same currency as Stake) and the share of each kind of impostor that it stops."""

    cost: float
    stops: dict[str, float]


class TrustPriors(msgspec.Struct, frozen=True):
    """The table. `version` is derived from its content. Raises ValueError where it contradicts itself.

    attackers, honest, honest_unknown: how common each archetype is, each summing to 1 (honest_unknown: nobody is known).
    number: P(value | archetype), each row summing to 1. signature: likelihood relative to no check at all, so
    that a check that did not happen counts 1 for everybody. impostor: P(impostor) before any evidence.
    """

    impostor: float
    attackers: dict[str, float]
    honest: dict[str, float]
    honest_unknown: dict[str, float]
    number: dict[str, dict[str, float]]
    signature: dict[str, dict[str, float]]
    floor: float
    """A number that nobody vouches for lowers the odds to this share of the prior odds at most: it can be copied."""
    floor_attested: float
    """The same for a number that its carrier vouches for: it is theirs to call from, whoever holds the phone."""
    stakes: dict[str, Stake]
    methods: dict[str, MethodWorth]
    version: str = ""
    """Derived: whatever is given here is replaced."""

    def __post_init__(self) -> None:
        self._check()
        fields = msgspec.structs.asdict(self)
        del fields["version"]
        digest = hashlib.sha256(msgspec.json.encode(fields, order="deterministic")).hexdigest()[:12]
        msgspec.structs.force_setattr(self, "version", f"trust-prior-{digest}")

    def _check(self) -> None:
        if not 0 < self.impostor < 1 or not 0 < self.floor_attested <= self.floor <= 1:
            raise ValueError("impostor is a probability; 0 < floor_attested <= floor <= 1")
        for weights in (self.attackers, self.honest, self.honest_unknown):
            if min(weights.values(), default=0.0) < 0 or not math.isclose(sum(weights.values()), 1, abs_tol=1e-9):
                raise ValueError("the weights of archetypes sum to 1")
        for archetype in {**self.attackers, **self.honest, **self.honest_unknown}:
            row = self.number.get(archetype, {})
            if set(row) != set(NUMBERS) or min(row.values()) <= 0 or not math.isclose(sum(row.values()), 1, abs_tol=1e-9):
                raise ValueError(f"number[{archetype}] is a distribution over {NUMBERS}, without zeros")
            if min(self.signature.get(value, {}).get(archetype, 0.0) for value in SIGNATURES) <= 0:
                raise ValueError(f"signature[...][{archetype}] is above 0")
            if self.signature["not_checked"][archetype] != 1:
                raise ValueError("a check that did not happen counts 1 for everybody")
        if any(stake.loss < 0 or stake.friction < 0 for stake in self.stakes.values()):
            raise ValueError("money is not negative")
        if "unknown" not in self.stakes:
            raise ValueError("stakes needs the intent unknown")


def _row(known: float, shared: float, unknown: float, absent: float, unusable: float) -> dict[str, float]:
    return {"known": known, "shared": shared, "unknown": unknown, "absent": absent, "unusable": unusable}


def _signature(naive: float, spoofed_number: float, household_member: float) -> dict[str, float]:
    honest = dict.fromkeys(("routine", "new_or_borrowed_phone", "new_customer"), 1.0)
    return {"naive": naive, "spoofed_number": spoofed_number, "household_member": household_member} | honest


DEFAULT_PRIORS: Final = TrustPriors(
    impostor=1 / 599,
    attackers={"naive": 0.60, "spoofed_number": 0.25, "household_member": 0.15},
    honest={"routine": 0.85, "new_or_borrowed_phone": 0.15},
    honest_unknown={"new_customer": 1.0},
    number={
        "naive": _row(0.005, 0.005, 0.630, 0.330, 0.030),
        "spoofed_number": _row(0.620, 0.280, 0.030, 0.060, 0.010),
        "household_member": _row(0.250, 0.690, 0.030, 0.025, 0.005),
        "routine": _row(0.660, 0.299, 0.020, 0.020, 0.001),
        "new_or_borrowed_phone": _row(0.010, 0.050, 0.835, 0.100, 0.005),
        "new_customer": _row(0.005, 0.015, 0.919, 0.060, 0.001),
    },
    signature={
        # A and B vouch for the number: whoever spoofs one hardly gets them, a relative on the line gets them always.
        "attested_a": _signature(1.0, 0.05, 1.0),
        "attested_b": _signature(1.0, 0.40, 1.0),
        "not_checked": _signature(1.0, 1.0, 1.0),
        "failed": _signature(2.0, 12.0, 1.0),
    },
    floor=0.20,
    floor_attested=0.05,
    stakes={
        "opening_hours": Stake(loss=0.0, friction=0.5),
        "balance": Stake(loss=60.0, friction=0.25),
        "deposit": Stake(loss=60.0, friction=0.6),
        "refund": Stake(loss=150.0, friction=0.6),
        "card_replacement": Stake(loss=300.0, friction=0.8),
        "address_change": Stake(loss=500.0, friction=0.8),
        "wire": Stake(loss=2000.0, friction=2.5),
        "unknown": Stake(loss=200.0, friction=0.8),
    },
    methods={
        "confirm_name": MethodWorth(0.05, {"naive": 0.20, "spoofed_number": 0.05, "household_member": 0.05}),
        "knowledge": MethodWorth(0.60, {"naive": 0.60, "spoofed_number": 0.40, "household_member": 0.35}),
        "one_time_code": MethodWorth(0.80, {"naive": 0.90, "spoofed_number": 0.78, "household_member": 0.20}),
        "call_back": MethodWorth(2.50, {"naive": 0.97, "spoofed_number": 0.95, "household_member": 0.25}),
    },
)
