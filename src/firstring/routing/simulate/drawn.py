"""What happens in one run of a world: who comes, with how much patience, and what each pair would be like.

Everything random is drawn here, once, for each contact and not for each event: all policies meet the same contacts with
the same patience, the same difficulty and the same luck (common random numbers).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from firstring.routing.simulate.world import World

Floats = NDArray[np.float64]

_CHUNK: Final = 256
_CHUNKS: Final = 12
_RINGS: Final = 8
"""Draws of whether the telephone is answered, for each contact; more attempts use them again."""


class Pairs:
    """The people of a world and who suits whom; drawn by its structure seed.

    types t, agents n: logit (t, n) and traits (n, d) give success; handle_s (t, n) the mean handle time; eligible
    (t, n). `seen_*` is what the model believes of them.
    """

    def __init__(self, world: World) -> None:
        rng = np.random.default_rng([world.structure_seed, 1])
        shape = world.compatibility
        types, agents = len(world.types), world.agent_count
        groups = [group for group in world.agents for _ in range(group.count)]
        self.group = np.repeat(np.arange(len(world.agents)), [group.count for group in world.agents])
        self.places = np.array([group.places for group in groups])
        self.shifts = [group.shifts or ((0.0, float("inf")),) for group in groups]
        self.learning = np.array([group.learning for group in groups])
        self.learning_s = np.array([group.learning_hours * 3600.0 for group in groups])
        self.eligible = np.array([[set(kind.skills) <= set(g.skills) for g in groups] for kind in world.types])
        success = np.clip([kind.success for kind in world.types], 1e-9, 1 - 1e-9)
        self.fixed = np.array([kind.success in (0.0, 1.0) for kind in world.types])
        base = np.log(success / (1.0 - success))
        own = rng.normal(size=agents) * shape.agent_sd
        pair = rng.normal(size=(types, agents)) * shape.type_agent_sd
        traits = rng.normal(size=(agents, shape.dimensions))
        speed = rng.normal(size=agents) * shape.speed_log_sd
        type_speed = rng.normal(size=(types, agents)) * shape.type_speed_log_sd
        scale = shape.customer_sd / max(np.sqrt(shape.dimensions), 1.0)
        mean_s = np.array([[kind.handle_s * group.speed for group in groups] for kind in world.types])
        both = np.exp(speed + type_speed)
        self.logit, self.traits = base[:, None] + own + pair, traits * scale
        self.fit_speed, self.customer_sd = shape.fit_speed, shape.customer_sd * bool(shape.dimensions)
        self.pair, self.handle_s = pair, mean_s * _evened(both)
        self._see(world, base, own + pair, speed + type_speed, scale, mean_s)

    def _see(self, world: World, base: Floats, effect: Floats, slow: Floats, scale: float, mean_s: Floats) -> None:
        """What the model believes: the truth, the truth with an error, or another world."""
        rng = np.random.default_rng([world.structure_seed, 2])
        shape, error = world.compatibility, world.model.error
        noise, of_traits = rng.normal(size=effect.shape), rng.normal(size=self.traits.shape)
        of_time = rng.normal(size=slow.shape)
        if world.model.useless:
            spread = np.hypot(shape.agent_sd, shape.type_agent_sd)
            effect, self.seen_traits = noise * spread, of_traits * scale
            self.seen_pair = noise * shape.type_agent_sd
            slow = of_time * np.hypot(shape.speed_log_sd, shape.type_speed_log_sd)
        else:
            wrong = noise * error * np.hypot(shape.agent_sd, shape.type_agent_sd)
            effect, self.seen_pair = effect + wrong, self.pair + wrong
            self.seen_traits = self.traits + of_traits * (error * scale)
            slow = slow + of_time * error * np.hypot(shape.speed_log_sd, shape.type_speed_log_sd)
        self.seen_logit = base[:, None] + effect
        self.seen_handle_s = mean_s * _evened(np.exp(slow))


class Rows(NamedTuple):
    """Success and mean handle time of contacts with agents, true and as the model believes."""

    p: Floats
    seen_p: Floats
    h: Floats
    seen_h: Floats


class Drawn:
    """The contacts of one run, by arrival. Arrays (m,): at_s, kind, patience_s, luck (0..1), effort (mean 1)."""

    def __init__(self, world: World, pairs: Pairs, seed: int) -> None:
        rng = np.random.default_rng([world.structure_seed, 3, seed])
        at, kind = [], []
        for number, of_type in enumerate(world.types):
            hours = int(np.ceil(world.hours))
            rates = np.resize(np.array(of_type.per_hour), hours)
            for hour in range(hours):
                length = min(1.0, world.hours - hour)
                times = (hour + length * rng.random(rng.poisson(rates[hour] * length))) * 3600.0
                at.append(times)
                kind.append(np.full(len(times), number))
        self.at_s = np.concatenate(at)
        order = np.argsort(self.at_s, kind="stable")
        self.at_s, self.kind = self.at_s[order], np.concatenate(kind)[order]
        count = len(self.at_s)
        mean_s = np.array([of_type.patience_s or np.inf for of_type in world.types])
        self.patience_s = rng.exponential(size=count) * mean_s[self.kind]
        self.luck = rng.random(count)
        spread = np.array([of_type.handle_log_sd for of_type in world.types])[self.kind]
        is_exponential = np.array([of_type.handle == "exponential" for of_type in world.types])[self.kind]
        lognormal = np.exp(rng.normal(size=count) * spread - spread**2 / 2.0)
        self.effort = np.where(is_exponential, rng.exponential(size=count), lognormal)
        self.ring_luck = rng.random((count, _RINGS))
        self.explore_luck = rng.random(count)
        self.traits = rng.normal(size=(count, pairs.traits.shape[1]))
        self.value = np.array([of_type.value for of_type in world.types])
        self.pairs = pairs
        self.count = count
        self._chunks: dict[int, Rows] = {}

    def rows(self, contact: int) -> Rows:
        """What a contact would be like with each agent (n,), eligible or not."""
        number, place = divmod(contact, _CHUNK)
        chunk = self._chunks.get(number)
        if chunk is None:
            chunk = self._chunks[number] = self.block(np.arange(number * _CHUNK, min((number + 1) * _CHUNK, self.count)))
            # Contacts come in order, and wait a while: what is older is not asked for, or computed anew.
            if len(self._chunks) > _CHUNKS:
                del self._chunks[next(iter(self._chunks))]
        return Rows(chunk.p[place], chunk.seen_p[place], chunk.h[place], chunk.seen_h[place])

    def block(self, contacts: NDArray[np.int64]) -> Rows:
        """The same of several contacts (m, n)."""
        pairs = self.pairs
        kind, traits = self.kind[contacts], self.traits[contacts]
        suits, seems = traits @ pairs.traits.T, traits @ pairs.seen_traits.T
        # What agents have still to learn when a contact comes; no model knows of it.
        behind = pairs.learning * np.exp(-self.at_s[contacts][:, None] / pairs.learning_s) if pairs.learning.any() else 0.0
        p, seen_p = _probability(pairs.logit[kind] + suits - behind), _probability(pairs.seen_logit[kind] + seems)
        if pairs.fixed.any():
            sure = pairs.fixed[kind]
            p[sure] = seen_p[sure] = np.round(_probability(pairs.logit[kind][sure].mean(axis=1, keepdims=True)))
        slower = np.exp(behind)
        if not pairs.fit_speed:
            return Rows(p, seen_p, pairs.handle_s[kind] * slower, pairs.seen_handle_s[kind])
        quick = pairs.fit_speed
        even = np.exp((quick * pairs.customer_sd) ** 2 / 2.0)
        h = pairs.handle_s[kind] * np.exp(-quick * (suits + pairs.pair[kind])) * even * slower
        seen_h = pairs.seen_handle_s[kind] * np.exp(-quick * (seems + pairs.seen_pair[kind])) * even
        return Rows(p, seen_p, h, seen_h)


def _probability(logit: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-logit)))


def _evened(slow: Floats) -> Floats:
    """Factors (t, n) with a harmonic mean of 1 in each row: the spread of speed does not change what n busy agents do."""
    return np.asarray(slow * (1.0 / slow).mean(axis=1, keepdims=True))
