"""Stewards over HTTP: why, clerical review, held merges, decisions about links."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, Parameter
from msgspec import Meta

from firstring.api.access import Caller, allow
from firstring.api.people import PersonId
from firstring.api.services import Services
from firstring.errors import BadInput
from firstring.identity.review.questions import Answer
from firstring.ports import SystemRandom
from firstring.store import deciding
from firstring.store.identity.explaining import PairWhy, PersonWhy, why_pair, why_person
from firstring.store.identity.hotkeys import HotKey, hot_keys
from firstring.store.identity.review import Effect, Given, Question, effect, next_question
from firstring.store.identity.verdicts import DecisionView, HeldView, all_decisions, held_merges

_SHORT: Final = r"^[^\x00-\x1f\x7f-\x9f]{1,100}$(?!\n)"
By = Annotated[str, Meta(pattern=_SHORT, description="Who says so; kept with the name of the token.")]
Because = Annotated[str, Meta(min_length=1, max_length=1_000, description="Why; kept with the decision.")]
Named = Annotated[str, Meta(min_length=1, max_length=400, description="A record as SOURCE:RECORD_ID, or a person's number.")]
Id = Annotated[int, Meta(ge=1, le=2**63 - 1)]
_PathId = Annotated[int, Parameter(ge=1, le=2**63 - 1)]
LISTED: Final = 1_000


class AnswerRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An answer to a question of GET /v1/review/next. decide: it becomes a must-link or a cannot-link too."""

    question_id: Id
    answer: Answer
    by: By
    decide: bool = False


class UndoRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Takes an answer back: the last of `by`, where none is named."""

    by: By
    answer_id: Id | None = None


class UndoResult(msgspec.Struct, frozen=True):
    """question_id: where the pair is asked about again. decision_revoked: that was made of the answer."""

    answer_id: int
    question_id: int | None
    decision_revoked: int | None


class LinkDecision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Two records, or persons, are one (must) or are not (cannot)."""

    kind: Annotated[str, Meta(pattern="^(must|cannot)$")]
    left: Named
    right: Named
    by: By
    because: Because


class HeldRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A held merge happens (accept), or never does."""

    left_person: Id
    right_person: Id
    accept: bool
    by: By
    because: Because


class UnmergeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A record that is not this person's, as SOURCE:RECORD_ID."""

    record: Named
    by: By
    because: Because


class RevokeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    by: By
    because: Because


class Decided(msgspec.Struct, frozen=True):
    """The decisions that hold now (or, revoked, that ended); persons merged and split by it.

    apart: persons with others of the records of the two whose records were joined: decided about one record each, these did
    not come along. waits: no model links records yet; the decision takes effect with the first version.
    """

    decision_ids: tuple[int, ...]
    merged: int
    split: int
    apart: tuple[int, ...] = ()
    waits: bool = False


class ReviewController(Controller):
    path = "/v1"
    tags = ("stewards",)

    @get("/persons/{person_id:int}/why", guards=[allow("steward")], summary="What holds a person together")
    async def why_person(
        self, person_id: PersonId, services: NamedDependency[Services], caller: NamedDependency[Caller]
    ) -> PersonWhy:
        async with services.database.transaction(caller.tenant.tenant_id) as connection:
            return await why_person(connection, caller.tenant, person_id)

    @get("/why", guards=[allow("steward")], summary="Why two are, or are not, one person")
    async def why_pair(
        self,
        left: Annotated[str, Parameter(min_length=1, max_length=400)],
        right: Annotated[str, Parameter(min_length=1, max_length=400)],
        services: NamedDependency[Services],
        caller: NamedDependency[Caller],
    ) -> PairWhy:
        """left, right: records as SOURCE:RECORD_ID, or persons' numbers."""
        async with services.database.transaction(caller.tenant.tenant_id) as connection:
            return await why_pair(connection, caller.tenant, left, right)

    @get("/guards", guards=[allow("steward")], summary="Identifiers that point at nobody")
    async def hot_values(
        self,
        services: NamedDependency[Services],
        caller: NamedDependency[Caller],
        values: Annotated[bool, Parameter(description="With the values themselves.")] = False,
    ) -> list[HotKey]:
        """values: shows the values themselves, opened from a record; for administrators only."""
        if values and caller.role != "administrator":
            raise BadInput(
                "role_not_allowed", "Only administrators see the values.", where={"role": caller.role}, http_status=403
            )
        async with services.database.transaction(caller.tenant.tenant_id) as connection:
            return await hot_keys(connection, caller.tenant, random=SystemRandom(1), show_values=values)

    # --- clerical review -----------------------------------------------------------------------------------------

    @get("/review/next", guards=[allow("steward")], summary="The pair that is the most worth asking about")
    async def next(
        self,
        by: Annotated[str, Parameter(pattern=_SHORT)],
        services: NamedDependency[Services],
        caller: NamedDependency[Caller],
    ) -> Question | None:
        """It is kept for `by` for 15 minutes. null where no pair is left."""
        now = services.clock.now()
        return await next_question(services.database, caller.tenant, _who(by, caller), random=SystemRandom(), now=now)

    @post("/review/answers", status_code=200, guards=[allow("steward")], summary="Answers a question")
    async def answer(
        self, data: JSONBody[AnswerRequest], services: NamedDependency[Services], caller: NamedDependency[Caller]
    ) -> Given:
        return await deciding.answer(
            services.database, caller.tenant, data.question_id, data.answer, by=_who(data.by, caller),
            now=services.clock.now(), decide=data.decide,
        )  # fmt: skip

    @post("/review/answers/undo", status_code=200, guards=[allow("steward")], summary="Takes an answer back")
    async def undo(
        self, data: JSONBody[UndoRequest], services: NamedDependency[Services], caller: NamedDependency[Caller]
    ) -> UndoResult:
        undone = await deciding.undo(
            services.database, caller.tenant, data.answer_id, by=_who(data.by, caller), now=services.clock.now()
        )
        return UndoResult(undone.answer_id, undone.question_id, undone.decision_id)

    @get("/review/effect", guards=[allow("steward")], summary="What the answers say of the stated probabilities")
    async def effect(self, services: NamedDependency[Services], caller: NamedDependency[Caller]) -> Effect:
        async with services.database.transaction(caller.tenant.tenant_id) as connection:
            return await effect(connection, caller.tenant)

    # --- held merges and decisions -------------------------------------------------------------------------------

    @get("/held", guards=[allow("steward")], summary="Merges that guards hold back")
    async def held(self, services: NamedDependency[Services], caller: NamedDependency[Caller]) -> list[HeldView]:
        async with services.database.transaction(caller.tenant.tenant_id) as connection:
            return await held_merges(connection, caller.tenant, at_most=LISTED)

    @post("/held", status_code=200, guards=[allow("steward")], summary="Lets a held merge happen, or rules it out")
    async def settle(
        self, data: JSONBody[HeldRequest], services: NamedDependency[Services], caller: NamedDependency[Caller]
    ) -> Decided:
        made = await deciding.settle_held(
            services.database, caller.tenant, data.left_person, data.right_person, accept=data.accept,
            by=_who(data.by, caller), because=data.because, now=services.clock.now(),
        )  # fmt: skip
        return Decided(*made)

    @get("/decisions/links", guards=[allow("steward")], summary="Stewards' decisions about links")
    async def decisions(
        self,
        services: NamedDependency[Services],
        caller: NamedDependency[Caller],
        revoked: Annotated[bool, Parameter(description="Those that ended.")] = False,
    ) -> list[DecisionView]:
        async with services.database.transaction(caller.tenant.tenant_id) as connection:
            return await all_decisions(connection, caller.tenant, revoked=revoked, at_most=LISTED)

    @post("/decisions/links", status_code=200, guards=[allow("steward")], summary="Two are one person, or are not")
    async def decide(
        self, data: JSONBody[LinkDecision], services: NamedDependency[Services], caller: NamedDependency[Caller]
    ) -> Decided:
        made = await deciding.decide_pair(
            services.database, caller.tenant, "must" if data.kind == "must" else "cannot", data.left, data.right,
            by=_who(data.by, caller), because=data.because, now=services.clock.now(),
        )  # fmt: skip
        return Decided(*made)

    @post("/decisions/links/{decision_id:int}/revoke", status_code=200, guards=[allow("steward")], summary="Ends a decision")
    async def revoke(
        self,
        decision_id: _PathId,
        data: JSONBody[RevokeRequest],
        services: NamedDependency[Services],
        caller: NamedDependency[Caller],
    ) -> Decided:
        made = await deciding.revoke(
            services.database, caller.tenant, decision_id, by=_who(data.by, caller), because=data.because,
            now=services.clock.now(),
        )  # fmt: skip
        return Decided(*made)

    @post("/persons/{person_id:int}/unmerge", status_code=200, guards=[allow("steward")], summary="Takes a record out")
    async def unmerge(
        self,
        person_id: PersonId,
        data: JSONBody[UnmergeRequest],
        services: NamedDependency[Services],
        caller: NamedDependency[Caller],
    ) -> Decided:
        made = await deciding.take_out(
            services.database, caller.tenant, person_id, data.record, by=_who(data.by, caller), because=data.because,
            now=services.clock.now(),
        )  # fmt: skip
        return Decided(*made)


def _who(by: str, caller: Caller) -> str:
    return f"{by} (token {caller.name})"
