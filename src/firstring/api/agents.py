"""Agents over HTTP: profiles and presence, for administrators and for workforce tools."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from litestar import Controller, get, post, put
from litestar.di import NamedDependency
from litestar.params import JSONBody, Parameter

from firstring.api.access import Caller, allow
from firstring.api.services import Services
from firstring.contact import AgentProfile
from firstring.errors import BadInput
from firstring.routing.may.agents import agent_profile


class AgentView(msgspec.Struct, frozen=True):
    """An agent with presence and the number of contacts they have now."""

    profile: AgentProfile
    presence: str
    presence_at: datetime
    live: int


class AgentStored(msgspec.Struct, frozen=True):
    agent_id: int
    version: int


class PresenceRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    presence: Literal["ready", "away", "offline"]


AgentId = Annotated[int, Parameter(ge=1, le=2**63 - 1)]


class AgentsController(Controller):
    path = "/v1/agents"
    tags = ("agents",)
    guards = (allow(),)

    @get("/", summary="All agents")
    async def all(self, services: NamedDependency[Services], caller: NamedDependency[Caller]) -> list[AgentView]:
        states = await services.contacts.agents(caller.tenant)
        return [AgentView(state.profile, state.presence, state.presence_at, state.live) for state in states]

    @post("/", status_code=201, summary="A new agent")
    async def create(
        self, data: JSONBody[dict[str, Any]], services: NamedDependency[Services], caller: NamedDependency[Caller]
    ) -> AgentStored:
        return AgentStored(*await services.contacts.put_agent(caller.tenant, agent_profile(data, agent_id=0)))

    @put("/{agent_id:int}", summary="A new version of an agent's profile")
    async def change(
        self,
        agent_id: AgentId,
        data: JSONBody[dict[str, Any]],
        services: NamedDependency[Services],
        caller: NamedDependency[Caller],
    ) -> AgentStored:
        stored = await services.contacts.put_agent(caller.tenant, agent_profile(data, agent_id=agent_id), agent_id)
        if stored[0] is None:
            raise _unknown(agent_id)
        return AgentStored(*stored)

    @post("/{agent_id:int}/presence", status_code=200, summary="Ready, away or offline")
    async def presence(
        self,
        agent_id: AgentId,
        data: JSONBody[PresenceRequest],
        services: NamedDependency[Services],
        caller: NamedDependency[Caller],
    ) -> PresenceRequest:
        if not await services.contacts.set_presence(caller.tenant, agent_id, data.presence):
            raise _unknown(agent_id)
        return data


def _unknown(agent_id: int) -> BadInput:
    return BadInput("unknown_agent", "There is no such agent.", where={"agent": agent_id}, http_status=404)
