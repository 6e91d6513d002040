"""Out of a customer's journey: who served them last, and about whom they complained."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from firstring.contact import Reason, Resolution, TouchRead

COMPLAINT: Final = "complaint"
AGENT: Final = ("agent_id", "agent")
"""Properties of an event that name an agent by their number."""
CONTACT: Final = "contact_id"
BARRED_MAX: Final = 50


def barred_agents(
    resolution: Resolution, touches: Sequence[TouchRead], probability: float, reasons: list[Reason]
) -> tuple[int, ...]:
    """Agents about whom the customer complained, open or settled: the contact never returns to them.

    A complaint names the agent (property agent_id), or the contact it is about (contact_id, of a touch that was read). It
    counts where those candidates who made it reach `probability` together. What only came with a public write key does
    not count: anybody may send it.
    """
    served = {
        contact: agent
        for touch in touches
        if touch.issue_kind is None and not touch.claimed and (contact := touch.properties.get(CONTACT))
        if isinstance(contact, str) and (agent := _agent_of(touch.properties)) is not None
    }
    share_of = {candidate.person_id: candidate.probability for candidate in resolution.candidates}
    complained: dict[int, set[int]] = {}
    for touch in touches:
        if touch.issue_kind != COMPLAINT or touch.issue_effect <= 0 or touch.claimed or touch.person_id not in share_of:
            continue
        agent = _agent_of(touch.properties)
        if agent is None:
            about = touch.properties.get(CONTACT)
            agent = served.get(about) if isinstance(about, str) else None
        if agent is not None:
            complained.setdefault(agent, set()).add(touch.person_id)
    found: list[int] = []
    for agent, persons in sorted(complained.items()):
        share = sum(share_of[person] for person in persons)
        if share > 0.0 and share >= probability:
            found.append(agent)
            text = f"Complained about this agent ({share:.0%}): never to them"
            reasons.append(Reason("agent_barred", text, field=str(agent)))
    return tuple(found[:BARRED_MAX])


def last_agent(
    resolution: Resolution, touches: Sequence[TouchRead], now: datetime | None, days: float
) -> tuple[int | None, float]:
    """(agent, probability): who served the likeliest customers last, within so many days; (None, 0.0) for nobody."""
    if now is None:
        return None, 0.0
    newest: dict[int, tuple[datetime, int, int]] = {}
    for touch in touches:
        agent = _agent_of(touch.properties)
        if agent is None or touch.claimed or touch.issue_kind is not None or not touch.channel:
            continue
        if not 0.0 <= (now - touch.occurred_at).total_seconds() <= days * 86_400.0:
            continue
        entry = (touch.occurred_at, touch.event_id, agent)
        if touch.person_id not in newest or entry > newest[touch.person_id]:
            newest[touch.person_id] = entry
    shares: dict[int, float] = {}
    for candidate in resolution.candidates:
        if candidate.person_id in newest:
            agent = newest[candidate.person_id][2]
            shares[agent] = shares.get(agent, 0.0) + candidate.probability
    if not shares:
        return None, 0.0
    agent = min(shares, key=lambda one: (-shares[one], one))
    return agent, min(1.0, shares[agent])


def served_by(touches: Sequence[TouchRead]) -> dict[int, tuple[int, ...]]:
    """Person to the agents who served them, as far as the touches that were read tell, the latest first."""
    found: dict[int, list[tuple[datetime, int, int]]] = {}
    for touch in touches:
        agent = _agent_of(touch.properties)
        if agent is not None and not touch.claimed and touch.issue_kind is None:
            found.setdefault(touch.person_id, []).append((touch.occurred_at, touch.event_id, agent))
    return {
        person: tuple(dict.fromkeys(agent for _, _, agent in sorted(served, reverse=True)))
        for person, served in found.items()
    }


def _agent_of(properties: dict[str, Any]) -> int | None:
    for name in AGENT:
        value = properties.get(name)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**63:
            return value
    return None
