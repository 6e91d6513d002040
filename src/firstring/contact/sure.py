"""Is it really them? How sure, and what to ask for."""

from __future__ import annotations

from firstring.contact.evidence import Reason
from firstring.contact.value import Basis, Value


class StepUp(Value, frozen=True):
    """What to ask for before going on. `method` is a code (none, confirm_name, knowledge, one_time_code, call_back)."""

    method: str
    text: str


class Assurance(Value, frozen=True):
    """Is it really them: the probability of an impostor if the contact claims to be `person_id` (None: nobody known).

    looks_like: the explanation with the highest posterior (routine, borrowed_phone, new_phone, spoofed_number, ...);
    archetypes: (name, probability) of all explanations, summing to 1. Nothing of it is ever sent to the caller's side.
    """

    person_id: int | None
    impostor: float
    basis: Basis
    looks_like: str
    ask: StepUp
    model_version: str
    archetypes: tuple[tuple[str, float], ...] = ()
    reasons: tuple[Reason, ...] = ()
