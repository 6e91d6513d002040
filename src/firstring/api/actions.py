"""Actions over HTTP: what is in force, decisions with their trace, an action by hand."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, Parameter
from msgspec import Meta

from firstring.api.access import Caller, allow
from firstring.api.people import PersonId
from firstring.api.services import Services
from firstring.contact import ActionVerdict, Reason
from firstring.nextbest.decided import Decided
from firstring.nextbest.trace import Flip
from firstring.store.identity.persons import moment
from firstring.store.nextbest.decisions import Line, decision, decision_uuid, decisions
from firstring.store.nextbest.policies import in_force

LISTED: Final = 50
_SHORT: Final = r"^[^\x00-\x1f\x7f-\x9f]{1,100}$(?!\n)"
_NAME: Final = r"^[A-Za-z0-9_]{1,64}$(?!\n)"
Before = Annotated[
    str | None,
    Parameter(description="Those decided before this moment, RFC 3339.", pattern=r"^[0-9TtZz:.+ -]{10,40}$"),
]
Person = Annotated[int | None, Parameter(ge=1, le=2**63 - 1, description="Only those of this person.")]
DecisionId = Annotated[str, Parameter(pattern=r"^[0-9A-Fa-f-]{32,36}$(?!\n)")]
ActionName = Annotated[str, Parameter(pattern=_NAME)]


class ActionView(msgspec.Struct, frozen=True):
    """An action in force."""

    action: str
    title: str
    kind: str
    route: str
    sells: bool
    patterns: list[str]
    in_contact: bool
    value: float
    cost: float


class PolicyView(msgspec.Struct, frozen=True):
    """What is in force: the version of the declared actions, of what was learned, the share of people held out."""

    version: str
    learned: str
    holdout: float
    actions: list[ActionView]


class DecisionView(msgspec.Struct, frozen=True):
    """A decision: what was chosen and why, the others with their gates and factors, what would have flipped it.

    person_id: whose it was; now: whose the record is now. outcome: acted, held_out (the offer is withheld, to show what
    happens by itself) or none. same: it was derived again just now and came out the same; None: its policy is gone.
    """

    decision_id: uuid.UUID
    person_id: int
    now: int | None
    record_id: int
    cause: str
    fired: str
    decided_at: datetime
    decided_by: str | None
    outcome: str
    action: str
    propensity: float
    reasons: list[Reason]
    content: dict[str, Any]
    considered: list[ActionVerdict]
    flip: Flip | None
    result: str | None
    policy: str
    learned: str
    same: bool | None


class ByHand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who asks for it. record_id: whom it is addressed to (default: the person's record that was seen last)."""

    by: Annotated[str, Meta(pattern=_SHORT, description="Who asks for it.")]
    record_id: Annotated[int, Meta(ge=1, le=2**63 - 1)] | None = None


class ActionsController(Controller):
    path = "/v1"
    tags = ("actions",)

    @get("/actions", guards=[allow("read", "steward")], summary="The actions in force")
    async def actions(self, caller: NamedDependency[Caller]) -> PolicyView:
        """As this server chooses by them just now."""
        force = in_force(caller.tenant)
        listed = [
            ActionView(
                one.name, one.title or one.text, one.kind, one.route, one.is_sale, sorted(one.trigger.patterns),
                one.trigger.contact, one.value, one.cost,
            )
            for one in force.catalogue.actions
        ]  # fmt: skip
        return PolicyView(force.catalogue.version, force.learned.version, force.catalogue.policy.holdout, listed)

    @get("/actions/decisions", guards=[allow("read", "steward")], summary="Decisions of actions, the newest first")
    async def decisions(
        self,
        services: NamedDependency[Services],
        caller: NamedDependency[Caller],
        person: Person = None,
        before: Before = None,
    ) -> list[Line]:
        """At most 50; more before the last one's time."""
        at = None if before is None else moment(before)
        return await decisions(services.database, caller.tenant, person_id=person, before=at, at_most=LISTED)

    @get(
        "/actions/decisions/{decision_id:str}",
        guards=[allow("read", "steward")],
        summary="Why this action: who was gated and why, the factors, the losers, what would have flipped it",
    )
    async def decision(
        self, decision_id: DecisionId, services: NamedDependency[Services], caller: NamedDependency[Caller]
    ) -> DecisionView:
        """It is derived again while it is shown: `same` says whether it came out as it was."""
        found = await decision(services.database, caller.tenant, decision_uuid(decision_id))
        view = view_of(found.decided, found.policy, found.decided_by)
        trace = found.trace
        return msgspec.structs.replace(
            view,
            now=found.person_id,
            result=found.result,
            flip=None if trace is None else trace.flip,
            same=None if trace is None else trace.same,
        )

    @post(
        "/persons/{person_id:int}/actions/{action:str}",
        status_code=200,
        guards=[allow("steward")],
        summary="An action by hand, under the same gates",
    )
    async def by_hand(
        self,
        person_id: PersonId,
        action: ActionName,
        data: JSONBody[ByHand],
        services: NamedDependency[Services],
        caller: NamedDependency[Caller],
    ) -> DecisionView:
        """Where a gate is closed the outcome is none, and the gates are told: nothing goes out then."""
        decided = await services.acting.by_hand(caller.tenant, person_id, action, by=data.by, record_id=data.record_id)
        return view_of(decided, in_force(caller.tenant).catalogue.version, data.by)


def view_of(decided: Decided, policy: str, by: str | None) -> DecisionView:
    """A decision as it is shown."""
    chosen = decided.chosen
    return DecisionView(
        decided.decision_id, decided.person_id, decided.person_id, decided.record_id, decided.moment.cause,
        decided.moment.fired, decided.at, by, decided.outcome, decided.action, decided.propensity, list(chosen.reasons),
        decided.content, list(chosen.considered), None, None, policy, chosen.learned, None,
    )  # fmt: skip
