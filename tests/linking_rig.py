"""A model of persons by hand, for tests that need one and not its training."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from firstring.bulk.versions.storelink import FROZEN
from firstring.identity.canonical.record import CanonicalRecord
from firstring.identity.comparison.columns import compared, table_of
from firstring.identity.comparison.levels import outcomes
from firstring.identity.comparison.spec import PERSON, Comparison, Spec
from firstring.identity.model.model import Model, outcome_names
from firstring.store.database import Database, Tenant
from firstring.store.identity.models import ActiveModel, add_model, model_of, set_state, statistics_key

NOW = datetime(2026, 11, 1, tzinfo=UTC)
_OF_UNRELATED = 0.02
"""Share of unrelated pairs at a level that is not its comparison's last and not banded."""


def model_by_hand(spec: Spec = PERSON, *, records: int = 10_000, without: tuple[str, ...] = ()) -> Model:
    """Every comparison with the shares that training starts from; shared values are as rare as their octave says."""
    shares = {one.name: _shares(one) for one in spec.comparisons if one.name not in without}
    return Model(spec, records, {"same": 1.0, "household": 1.0}, 1e-5, shares)


def _shares(comparison: Comparison) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    last = comparison.levels[-1].name
    for name, (level, octave) in zip(outcome_names(comparison), outcomes(comparison).of, strict=True):
        unrelated = 0.9 if level.name == last else _OF_UNRELATED
        if octave is not None:
            unrelated = 0.5 ** (2 * octave + 1)
        spread = 1.0 if octave is None else 1 / 24
        rows = [
            max(share * spread, 1e-6) if learns else unrelated
            for share, learns in zip(comparison.starting(level), comparison.learned_by, strict=True)
        ]
        found[name] = [*rows, unrelated]
    return found


async def activated(
    database: Database, tenant: Tenant, records: Sequence[CanonicalRecord], *, threshold: float = 0.95
) -> ActiveModel:
    """A version made by hand becomes the tenant's active one; it knows the values of these records."""
    model = model_by_hand(records=max(len(records), 1_000))
    table = table_of([compared(record.fields) for record in records])
    statistics = table.frozen(FROZEN, statistics_key(tenant.keys, model.version))
    async with database.transaction(tenant.tenant_id) as connection:
        model_id = await add_model(connection, tenant, model, statistics, threshold, trained_at=NOW)
        await set_state(connection, tenant, model_id, "active", now=NOW)
        return await model_of(connection, tenant, model_id)
