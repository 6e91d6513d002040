"""Small, valid values for tests of the store: profiles, contacts, decisions."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from firstring.contact import (
    AgentProfile,
    AgentVerdict,
    Assurance,
    Candidate,
    Cause,
    Contact,
    Decision,
    Derived,
    Evidence,
    Journey,
    NextAction,
    Outcome,
    Read,
    RelaxingStep,
    Requirement,
    Resolution,
    Routing,
    RoutingNeed,
    StepUp,
    Versions,
)
from firstring.ports import SystemIds

NEW_ID = SystemIds().new


def agent_profile(name: str = "Agent", *, voice: int = 1, **capacity: int) -> AgentProfile:
    """A profile as it is before it is stored."""
    places = {"voice": voice, **capacity}
    return AgentProfile(0, 0, name, f"sip:{secrets.token_hex(4)}@agents.test", channels=tuple(places), capacity=places)


def contact(**changes: Any) -> Contact:
    values: dict[str, Any] = {
        "contact_id": NEW_ID(),
        "channel": "voice",
        "offered_at": datetime.now(UTC),
        "call_key": secrets.token_hex(8),
        "adapter": "http",
        "adapter_ref": "ref",
    }
    return Contact(**{**values, **changes})


def decision(
    of: Contact,
    agents: Sequence[int] = (),
    *,
    revision: int = 1,
    cause: Cause = "offered",
    outcome: Outcome = "route",
    evidence: Evidence | None = None,
    read: Read | None = None,
    profile: dict[str, Any] | None = None,
    priority: int = 0,
) -> Decision:
    """A decision that tries these agents in turn."""
    candidates = () if profile is None else (Candidate(1, 1.0, profile=profile),)
    derived = Derived(
        resolution=Resolution(candidates, 0.0 if candidates else 1.0, 0.0, "prior", "test"),
        assurances=(Assurance(None, 0.1, "prior", "routine", StepUp("none", ""), "test"),),
        journeys=(Journey(1),),
        action=NextAction("help", "service", "Help."),
        routing=Routing(
            RoutingNeed(of.channel, priority, (RelaxingStep(0.0, Requirement()),)),
            tuple(AgentVerdict(agent, 1, True) for agent in agents),
            len(agents),
            len(agents),
            "test",
        ),
        versions=Versions("test", "test", "test", "test", "test", "test"),
    )
    return Decision(of, revision, cause, datetime.now(UTC), evidence or Evidence(), read or Read(), derived, outcome)


def new_id() -> uuid.UUID:
    return NEW_ID()
