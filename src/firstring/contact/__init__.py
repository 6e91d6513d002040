"""What flows through a decision: Contact, Evidence, Read, Resolution, Assurance, Journey, NextAction, Routing, Decision.

Everything here is an immutable value (msgspec Struct), serialisable, and free of I/O. Times are aware UTC datetimes.
Probabilities are in [0, 1]; weights are in nats (natural log odds). Ids: persons, records and agents are integers,
contacts are UUIDs given by whoever offers the contact, so that a retry is the same contact.
"""

from __future__ import annotations

from firstring.contact.decision import Cause, Committed, ContactState, Decision, Derived, InTrial, Outcome, Versions
from firstring.contact.evidence import Contact, Directions, Evidence, Identifier, Overflowed, Reason, SignatureCheck
from firstring.contact.now import ActionVerdict, Factors, NextAction
from firstring.contact.read import AgentFree, Around, FanOut, Read, RecordRead, TouchRead, WentOut
from firstring.contact.sure import Assurance, StepUp
from firstring.contact.value import Basis, Channel, Value
from firstring.contact.who import Candidate, ContactPrior, Household, Question, Resolution, Settles
from firstring.contact.whom import (
    AgentProfile,
    AgentVerdict,
    Beyond,
    Hold,
    Kept,
    PlaceVerdict,
    RelaxingStep,
    Requirement,
    Routing,
    RoutingNeed,
    WorkingHours,
)
from firstring.contact.why import Journey, LikelyReason, OpenIssue, Touch

__all__ = [
    "ActionVerdict",
    "AgentFree",
    "AgentProfile",
    "AgentVerdict",
    "Around",
    "Assurance",
    "Basis",
    "Beyond",
    "Candidate",
    "Cause",
    "Channel",
    "Committed",
    "Contact",
    "ContactPrior",
    "ContactState",
    "Decision",
    "Derived",
    "Directions",
    "Evidence",
    "Factors",
    "FanOut",
    "Hold",
    "Household",
    "Identifier",
    "InTrial",
    "Journey",
    "Kept",
    "LikelyReason",
    "NextAction",
    "OpenIssue",
    "Outcome",
    "Overflowed",
    "PlaceVerdict",
    "Question",
    "Read",
    "Reason",
    "RecordRead",
    "RelaxingStep",
    "Requirement",
    "Resolution",
    "Routing",
    "RoutingNeed",
    "Settles",
    "SignatureCheck",
    "StepUp",
    "Touch",
    "TouchRead",
    "Value",
    "Versions",
    "WentOut",
    "WorkingHours",
]
