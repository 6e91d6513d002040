"""Who is it? The persons it may be, and what would settle it."""

from __future__ import annotations

from typing import Any

from firstring.contact.evidence import Identifier, Reason
from firstring.contact.value import Basis, Value


class Candidate(Value, frozen=True):
    """A person this may be. `profile` is what an agent may be shown: fields of the vocabulary, newest value wins."""

    person_id: int
    probability: float
    reasons: tuple[Reason, ...] = ()
    profile: dict[str, Any] = {}
    records: tuple[int, ...] = ()


class Household(Value, frozen=True):
    """The people behind one shared identifier."""

    shared: Identifier
    members: tuple[int, ...]
    probability: float
    """That the caller is one of the members listed."""


class ContactPrior(Value, frozen=True):
    """Why a person may be in contact just now, out of their journey: log_odds (nats) on top of the evidence, in words.

    facts: what only this person is likely to know (last_order), which a question may ask for.
    """

    log_odds: float
    text: str
    facts: dict[str, str] = {}


class Settles(Value, frozen=True):
    """What an answer would show: the likeliest person (None: nobody listed) and their probability then."""

    answer: str
    person_id: int | None
    probability: float


class Question(Value, frozen=True):
    """The one question that would settle who it is: what tells most for the time it takes.

    choices may be said to the caller; `settles` holds what is on file, and is for the agent alone. information: nats
    that the answer is expected to tell about who it is; seconds: what asking costs.
    """

    field: str
    text: str
    choices: tuple[str, ...] = ()
    settles: tuple[Settles, ...] = ()
    reason: str = ""
    information: float = 0.0
    seconds: float = 0.0


class Resolution(Value, frozen=True):
    """Who it is: candidates (most probable first), another of the household, someone new. They sum to 1 (1e-9)."""

    candidates: tuple[Candidate, ...]
    someone_new: float
    another_in_household: float
    basis: Basis
    model_version: str
    household: Household | None = None
    reasons: tuple[Reason, ...] = ()
    hot: tuple[Identifier, ...] = ()
    question: Question | None = None
    unnamed: dict[int, tuple[int, ...]] = {}
    """Persons on file of whom nothing is known but an identifier, and the candidates who carry it too: each of these may
    be the one. They are no candidates of their own, and what they have been through counts for all of these."""

    @property
    def best(self) -> Candidate | None:
        return self.candidates[0] if self.candidates else None
