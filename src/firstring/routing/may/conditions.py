"""Conditions in CEL: on a contact and its customer (when a rule counts), and on an agent (who meets it).

Both are read and checked when the policy is loaded. A stored need carries the conditions in force as text, so that a
decision is derived again from what it holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from firstring.cel import BOOL, DYN, INT, STRING, EvaluationError, Program, Type, compiled, list_of, map_of, object_of
from firstring.contact import AgentProfile, Contact, Resolution
from firstring.errors import BadInput

_AGENT: Final = object_of(
    "agent",
    {
        "id": INT,
        "skills": map_of(STRING, INT),
        "languages": map_of(STRING, INT),
        "tiers": list_of(STRING),
        "channels": list_of(STRING),
        "licences": list_of(STRING),
    },
)
_CONTACT: Final = object_of("contact", {"channel": STRING, "called": STRING, "language": STRING, "intent": STRING})
_OF_AGENT: Final[Mapping[str, Type]] = {"agent": _AGENT}
_OF_CONTACT: Final[Mapping[str, Type]] = {"contact": _CONTACT, "customer": map_of(STRING, DYN)}


def on_agent(source: str, field: str) -> None:
    """Checks a condition on an agent. Raises BadInput expression_invalid with the field, line and column."""
    _checked(source, field, agent_condition)


def on_contact(source: str, field: str) -> None:
    """Checks a condition on a contact and its customer, likewise."""
    _checked(source, field, contact_condition)


@lru_cache(maxsize=2_048)
def agent_condition(source: str) -> Program:
    """A condition over `agent`: id, skills, languages (maps to levels), tiers, channels, licences (lists)."""
    return compiled(source, _OF_AGENT, wanted=BOOL)


@lru_cache(maxsize=2_048)
def contact_condition(source: str) -> Program:
    """A condition over `contact` (channel, called, language, intent; "" where unknown) and `customer` (their profile)."""
    return compiled(source, _OF_CONTACT, wanted=BOOL)


def agent_values(profile: AgentProfile, day: str) -> dict[str, Any]:
    """What a condition sees of an agent. day: ISO date; licences that are over by then are not seen."""
    return {
        "id": profile.agent_id,
        "skills": profile.skills,
        "languages": profile.languages,
        "tiers": list(profile.tiers),
        "channels": list(profile.channels),
        "licences": [name for name, until in profile.licences.items() if not until or until >= day],
    }


def contact_values(contact: Contact, called: str, language: str | None, intent: str | None) -> dict[str, Any]:
    """What a condition sees of a contact."""
    return {"channel": contact.channel, "called": called, "language": language or "", "intent": intent or ""}


def holds(program: Program, *values: Any) -> bool:
    """Whether it is true; an error is not true."""
    try:
        return program.of(*values) is True
    except EvaluationError:
        return False


def share(source: str, values: Mapping[str, Any], people: Sequence[tuple[Mapping[str, Any], float]]) -> float:
    """How probable it is that a condition on the contact and its customer holds. people: (profile, probability)."""
    condition = contact_condition(source)
    return sum(probability for profile, probability in people if holds(condition, values, profile))


def people_of(resolution: Resolution) -> list[tuple[dict[str, Any], float]]:
    """(profile, probability) of the candidates, and of somebody unknown: whoever is not listed."""
    people = [(dict(one.profile), one.probability) for one in resolution.candidates]
    people.append(({}, max(0.0, 1.0 - sum(probability for _, probability in people))))
    return people


def any_of(sources: Sequence[str]) -> str:
    """One condition that holds where any of these does; an error in one does not change what another says."""
    return sources[0] if len(sources) == 1 else " || ".join(f"({source})" for source in sources)


def _checked(source: object, field: str, compiling: Any) -> None:
    if not isinstance(source, str):
        raise BadInput(
            "expression_invalid", "A condition is text.", where={"field": field}, hint="Put it in quotation marks."
        )
    try:
        compiling(source)
    except BadInput as error:
        error.where = {"field": field, **error.where}
        raise
