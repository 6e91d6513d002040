"""routing.toml read again under a running server: what is right is in force at once and found again for replay, what is
wrong leaves the policy before it in force and is told."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs
from tests.integration.test_decide import World, world
from tests.integration.test_never import offered
from tests.integration.test_routing_fitted import put
from tests.unit.test_routing_live import model

from firstring.contact import Decision
from firstring.decide import Models, differences, rederive
from firstring.observe import only_known_fields
from firstring.routing.declared.policy import RoutingPolicy, policy_from_file
from firstring.store.routing.policies import PolicyFile, policy_of_tenant
from firstring.store.usedmodels import models_used

__all__ = ["world"]


def logged(log: dict[str, object]) -> dict[str, object]:
    """What of it comes into the log."""
    return dict(only_known_fields(None, "", {name: value for name, value in log.items() if name != "log_level"}))


class Server:
    """One server's file, and what it was told."""

    def __init__(self, world: World, path: Path) -> None:
        self.world, self.path = world, path
        self.told: list[bool] = []
        self.file = PolicyFile(world.database, path, policy_from_file(path), world.clock, self.told.append)

    async def write(self, text: str | None) -> list[dict[str, object]]:
        """Writes the file (None: takes it away), and looks; returns what was logged."""
        if text is None:
            self.path.unlink()
        else:
            self.path.write_text(text)
            os.utime(
                self.path, ns=(len(self.told) * 10**9, hash(text) & 0xFFFFFFFF)
            )  # two writes within a tick of the clock
        with capture_logs() as logs:
            await self.file.refresh(self.world.database, self.world.tenant)
        routing = policy_of_tenant(self.world.tenant, RoutingPolicy())
        self.world.decider.models = msgspec.structs.replace(self.world.decider.models, routing=routing)
        return [dict(log) for log in logs]


async def used(world: World, decision: Decision, models: Models) -> Models:
    """The models of a decision, found by the versions that it names."""
    found = await models_used(world.database, world.tenant, models, decision.derived.versions, {})
    assert found is not None
    return found


async def test_a_policy_is_exchanged_and_the_one_before_is_found_again(world: World, tmp_path: Path) -> None:
    path = tmp_path / "routing.toml"
    path.write_text("[routing]\nhold_s = 3\n")
    server = Server(world, path)
    assert await server.write("[routing]\nhold_s = 3\n") == []
    first = await offered(world)
    assert first.derived.versions.routing.startswith(server.file.policy.version)

    [log] = await server.write("[routing]\nhold_s = 4\n[routing.intents.refund]\nbilling = 2\n")
    assert log["event"] == "routing_policy_changed"
    assert policy_of_tenant(world.tenant, RoutingPolicy()).intents == {"refund": {"billing": 2}}
    second = await offered(world)
    assert second.derived.versions.routing != first.derived.versions.routing
    # Whoever replays reads the file as it is now; the one before is in the store.
    now = msgspec.structs.replace(world.models, routing=policy_from_file(path))
    for decision in (first, second):
        stored = await world.ring.decision(world.tenant, decision.contact.contact_id)
        assert stored is not None
        models = await used(world, stored, now)
        assert models.versions().routing == stored.derived.versions.routing
        profiles = await world.ring.profiles(world.tenant, stored.read.agents)
        assert differences(stored.derived, rederive(stored, profiles, models)) == []


@pytest.mark.parametrize(
    ("text", "code", "where"),
    [
        ("[routing]\nhold_s = -1\n", "number_out_of_range", "routing.hold_s"),
        ("[routing]\nhold_s = 1e9\n", "number_out_of_range", "routing.hold_s"),
        ("[routing\n", "toml_invalid", "routing.toml"),
        ('[[routing.rules]]\nname = "x"\nsteps = [{ agent = "agent.skils.kyc > 1" }]\n', "expression_invalid", "rules[0]"),
        (None, "file_unreadable", "routing.toml"),
    ],
)
async def test_a_file_with_a_mistake_changes_nothing_and_is_told(
    world: World, tmp_path: Path, text: str | None, code: str, where: str
) -> None:
    path = tmp_path / "routing.toml"
    path.write_text("[routing]\nguard_s = 45\n")
    server = Server(world, path)
    await server.write("[routing]\nguard_s = 45\n")
    before = server.file.policy
    [log] = await server.write(text)
    assert (log["event"], log["log_level"], log["code"]) == ("routing_policy_refused", "error", code)
    assert log["file"] == str(path)
    assert where in str(log.get("field", log["file"]))
    assert log["version"] == before.version
    assert "(not logged)" not in logged(log).values()
    assert server.told == [True]
    assert policy_of_tenant(world.tenant, RoutingPolicy()) is before
    with capture_logs() as logs:
        await server.file.refresh(world.database, world.tenant)
    assert logs == [], "once for each writing"
    await server.write("[routing]\nguard_s = 50\n")
    assert server.told == [True, False]
    assert policy_of_tenant(world.tenant, RoutingPolicy()).guard_s == 50.0


async def test_the_policy_of_another_server_is_found(world: World, tmp_path: Path) -> None:
    """Two servers on one store: each stores what it has in force; either finds what the other decided with."""
    await put(world, model(0.0), [await world.agent()])
    mine, theirs = tmp_path / "mine.toml", tmp_path / "theirs.toml"
    mine.write_text("[routing]\nhold_s = 6\n")
    theirs.write_text("[routing]\nhold_s = 7\n")
    first, second = Server(world, mine), Server(world, theirs)
    await first.write("[routing]\nhold_s = 6\n")
    rings = await offered(world)
    world.tenant.kept.pop("routing_policy")  # the other process
    await second.write("[routing]\nhold_s = 7\n")
    stored = await world.ring.decision(world.tenant, rings.contact.contact_id)
    assert stored is not None
    models = await used(world, stored, msgspec.structs.replace(world.models, routing=second.file.policy))
    assert models.routing.hold_s == 6.0
