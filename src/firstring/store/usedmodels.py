"""The models that a stored decision was made with, found again by their versions."""

from __future__ import annotations

import msgspec

from firstring.contact import Versions
from firstring.decide import Models
from firstring.identity.caller.weights import JOINED
from firstring.routing.fit.model import PRIOR
from firstring.routing.pick.live import NO_PRICES
from firstring.store.database import Database, Tenant
from firstring.store.journey.reasoning import with_reasons_named
from firstring.store.nextbest.policies import with_actions_named
from firstring.store.routing.models import fit_named
from firstring.store.routing.prices import live_named
from firstring.store.routing.trials import policy_named
from firstring.store.weighing import weights_named


async def models_used(
    database: Database,
    tenant: Tenant,
    models: Models,
    of_decision: Versions,
    by_version: dict[tuple[str, ...], Models | None],
) -> Models | None:
    """The models that a decision was made with: weights, actions, text model, who fits, prices, the policy of its arm. Each
    is read once, and kept in by_version; None where they are gone."""
    named = of_decision.identity.split(JOINED)  # model's and priors', survivorship's if any
    version = JOINED.join(part for part in named if part.startswith(("model-", "prior-")))
    actions, journey, routing = of_decision.actions, of_decision.journey, of_decision.routing
    versions = (version, actions, journey, routing)
    if versions not in by_version:
        parts = routing.split(JOINED)
        fit_version = next((part for part in parts if part.startswith("fit-")), PRIOR.version)
        prices_version = next((part for part in parts if part.startswith("prices-")), NO_PRICES.version)
        async with database.transaction(tenant.tenant_id) as connection:
            weights = await weights_named(connection, tenant, version)
            of_actions = await with_actions_named(connection, tenant, models, actions)
            if of_actions is not None:
                of_actions = await with_reasons_named(connection, tenant, of_actions, journey)
            fit = await fit_named(connection, tenant, fit_version)
            live = await live_named(connection, tenant, prices_version)
            policy = await policy_named(connection, tenant, models.routing, parts[0])
        used = None
        if weights is not None and of_actions is not None and fit is not None and live is not None:
            used = msgspec.structs.replace(of_actions, weights=weights, fit=fit, live=live, routing=policy or models.routing)
        by_version[versions] = used
    return by_version[versions]
