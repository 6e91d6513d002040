"""Ours: the pick of `routing.pick` with prices that follow the load, reliance that follows the outcomes, holds, the guard.

What is live a table (who waits, who was passed over, what was learnt) is here a dictionary; every choice is made by the
functions that choose live (`routing.pick.step`).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from firstring.routing.pick import choose as picking
from firstring.routing.pick import firstcome, step
from firstring.routing.pick.reliance import Reliance, learnt, relied
from firstring.routing.simulate.centre import NOBODY, Centre
from firstring.routing.simulate.policies import FirstCome

Floats = NDArray[np.float64]


class PriceRules(msgspec.Struct, frozen=True, kw_only=True):
    """How ours runs. One recipe for every world."""

    pick: picking.PickSettings = picking.HOLDING
    reprice_s: float = step.REPRICE_S
    """Prices follow the load this often."""
    sample: int = step.SAMPLE
    """Recent contacts that prices are formed on."""
    smoothing: float = step.SMOOTHING
    occupancy_prior_s: float = step.OCCUPANCY_PRIOR_S
    """Seconds at the mean that every agent's occupancy begins with: the first call of a shift says nothing yet."""
    window: int = step.WINDOW
    """Contacts near the head that may be chosen, as a multiple of how many may be due at a time."""
    patience_prior_s: float = step.PATIENCE_PRIOR_S
    learns: bool = True
    """Shrinks the model's differences by what outcomes say of them."""


class Decision(NamedTuple):
    """One choice: when, for whom or by whom, and the pick over these candidates."""

    at_s: float
    contact: int
    agent: int
    candidates: NDArray[np.intp]
    made: picking.Pick


class _Waiting(NamedTuple):
    """A contact's own predictions (n,), before reliance."""

    p: Floats
    h: Floats
    p_mean: float
    h_mean: float


class PriceIndex(FirstCome):
    """Success less the price of the agent's time; fairness, age guard relative to first come, bounded holds."""

    name = "price"

    def __init__(self, rules: PriceRules | None = None, *, log: list[Decision] | None = None) -> None:
        self.rules = rules or PriceRules()
        self.settings = self.rules.pick
        self.every_s = self.rules.reprice_s
        self.log = log

    def begin(self, centre: Centre) -> None:
        super().begin(centre)
        count = len(centre.free)
        self.price = np.zeros(count)
        self.succeeds, self.takes = Reliance(), Reliance()
        self.slopes = (1.0, 1.0)
        self.contacts: dict[int, _Waiting] = {}
        self.counts_on: dict[int, float] = {}
        self.due_at: dict[int, float] = {}
        """Contacts that first come would have served already, and since when."""
        self.ghosts: dict[int, float] = {}
        """Contacts that were served and would wait still under first come, until when."""
        self.holds: dict[int, float] = {}
        """Contacts that are held, with what waiting was to bring."""
        self.recent: list[int] = []
        self.usual_s = centre.pairs.seen_handle_s.mean(axis=0)
        self.waited_s, self.gave_up = self.rules.patience_prior_s, 1.0
        self._size = 2

    # --- what the centre asks ---------------------------------------------------------------------------------------

    def arrived(self, contact: int) -> int:
        centre = self.centre
        is_new = contact not in self.contacts
        known = self._meet(contact) if is_new else self.contacts[contact]
        agents = self.idle(contact)
        self.holds.pop(contact, None)
        self.ghosts.pop(contact, None)  # it rang where nobody answered, and waits again
        if not len(agents):
            return NOBODY
        p, h = self._believed(known, agents)
        occupancy, mean = self._occupancy(contact)
        # Once, when it comes: whoever was held, or rang where nobody answered, is not held again.
        may_hold = is_new and self.settings.hold_s > 0.0
        made = step.arrival(
            p,
            h,
            price=self.price[agents],
            occupancy=occupancy[agents],
            occupancy_mean=mean,
            idle_s=centre.now - centre.idle_since[agents],
            weight=self._weight(contact),
            busy=self._busy(contact, known, occupancy) if may_hold else None,
            patience_s=self._patience_s(),
            free_every_s=float(self._free_every_s()[centre.drawn.kind[contact]]),
            draw=self._draw(contact),
            settings=self.settings,
        )
        self._note(contact, NOBODY, agents, made)
        if made.why == "held":
            self.holds[contact] = made.reserve
            self.due_at[contact] = centre.now
            centre.look_again(contact, centre.now + self.settings.hold_s)
            return NOBODY
        return int(agents[made.chosen])

    def freed(self, agent: int) -> int:
        centre = self.centre
        every_s = self._free_every_s()
        self._size = step.line_size(float(every_s[self.eligible[:, agent]].min()), self.settings, self.rules.window)
        items = self._line(agent)
        if not items:
            return NOBODY
        waiting = np.array(items)
        believed = [self._believed(self.contacts[contact], agent) for contact in items]
        p, h = (np.array([pair[side] for pair in believed]) for side in (0, 1))
        weight = centre.drawn.value[centre.drawn.kind[waiting]]
        since, due_at = self._since(items)
        made = step.freed(
            p,
            h,
            price=float(self.price[agent]),
            contact_price=np.array([self.counts_on[contact] for contact in items]),
            waited_s=centre.now - since,
            weight=weight,
            due_at=due_at,
            reserve=np.array([self.holds.get(contact, -np.inf) for contact in items]),
            now=centre.now,
            free_every_s=every_s[centre.drawn.kind[waiting]],
            turn=firstcome.whose_turn(since, due_at, centre.drawn.at_s[self._ghosts(agent)]),
            draw=self._draw(items[0]),
            settings=self.settings,
        )
        self._note(NOBODY, agent, waiting, made)
        if made.chosen >= 0:
            return items[made.chosen]
        # All near the head are held: the next who is not gets the agent, who must not idle beside it.
        return next((contact for contact in self.candidates(agent).tolist() if contact not in self.holds), NOBODY)

    def taken(self, contact: int, agent: int, waited: bool) -> None:
        centre = self.centre
        items, ghosts = self._line(agent), self._ghosts(agent)
        since, due_at = self._since(items)
        was_due = contact in self.due_at
        after = step.after_taken(
            since,
            due_at,
            centre.drawn.at_s[ghosts],
            taken_since=float(centre.drawn.at_s[contact]),
            was_due=was_due,
        )
        if after.due >= 0:
            self.due_at[items[after.due]] = centre.now
        if after.ghost >= 0:
            del self.ghosts[ghosts[after.ghost]]
        if after.is_ghost:
            self.ghosts[contact] = step.ghost_until(
                centre.now, self._patience_s(), float(centre.drawn.explore_luck[contact])
            )
        if waited:
            self.waited_s += centre.now - centre.drawn.at_s[contact]
        self.holds.pop(contact, None)

    def gone(self, contact: int) -> None:
        self.waited_s += float(self.centre.wait_s[contact])
        self.gave_up += 1.0
        self._forget(contact)

    def ended(self, contact: int, agent: int, success: bool) -> None:
        known = self.contacts.get(contact)
        if known is not None and self.rules.learns:
            self.succeeds = learnt(self.succeeds, float(known.p[agent]) - known.p_mean, success - known.p_mean)
            took = np.log(max(float(self.centre.handle_s[contact]), 1e-3) / known.h_mean)
            self.takes = learnt(self.takes, float(np.log(known.h[agent] / known.h_mean)), took)
        self._forget(contact)

    def tick(self) -> Iterable[tuple[int, int]]:
        """Prices of now: recent contacts against the agents who are signed in, less what is kept back."""
        centre = self.centre
        self.slopes = (self.succeeds.slope, self.takes.slope)
        recent = self.recent[-step.sample(len(self.price), self.rules.sample) :]
        self.recent = recent = recent[step.recent(centre.drawn.at_s[recent], centre.now) :]
        if len(recent) < step.FIRST_PRICES or not centre.on.any():
            return ()
        contacts = np.array(recent)
        rows = centre.drawn.block(contacts)
        kind = centre.drawn.kind[contacts]
        self.price = step.market(
            rows.seen_p,
            rows.seen_h,
            self.eligible[kind] & centre.on,
            centre.drawn.value[kind],
            centre.on * centre.pairs.places,
            centre.now - float(centre.drawn.at_s[recent[0]]),
            slopes=self.slopes,
            smoothing=self.rules.smoothing,
            start=self.price,
        )
        for contact in centre.waiting:
            self._stand(contact, self.contacts[contact])
        return ()

    # --- what it needs for that -------------------------------------------------------------------------------------

    def _meet(self, contact: int) -> _Waiting:
        centre = self.centre
        row = centre.drawn.rows(contact)
        kind = centre.drawn.kind[contact]
        may = self.eligible[kind]
        known = _Waiting(row.seen_p, row.seen_h, float(row.seen_p[may].mean()), float(row.seen_h[may].mean()))
        self.contacts[contact] = known
        self._stand(contact, known)
        self.recent.append(contact)
        return known

    def _stand(self, contact: int, known: _Waiting) -> None:
        """What the contact may count on at the prices of now, of those who are signed in."""
        may = self.eligible[self.centre.drawn.kind[contact]] & self.centre.on
        p, h = self._believed(known, slice(None))
        self.counts_on[contact] = step.stands(p, h, may, self.price, self._weight(contact))

    def _believed(self, known: _Waiting, agents: NDArray[np.intp] | int | slice) -> tuple[Floats, Floats]:
        return (
            relied(known.p[agents], known.p_mean, self.slopes[0]),
            relied(known.h[agents], known.h_mean, self.slopes[1]),
        )

    def _busy(self, contact: int, known: _Waiting, occupancy: Floats) -> step.Busy:
        """Those who are busy, each free again at the rate of its usual handle time, and taken by one of those who already
        wait as likely as by this contact."""
        centre = self.centre
        busy = np.flatnonzero(centre.on & ~centre.free & self.eligible[centre.drawn.kind[contact]])
        p, h = self._believed(known, busy)
        rate = step.rates(centre.taken[busy], self.usual_s[busy], len(centre.waiting))
        return step.Busy(p, h, self.price[busy], occupancy[busy], rate)

    def _line(self, agent: int) -> list[int]:
        """The waiting contacts near the head whom the agent may serve, by arrival."""
        waiting = self.centre.waiting
        if self.open:
            return list(islice(waiting, self._size))
        may, kind = self.eligible[:, agent], self.centre.drawn.kind
        return list(islice((contact for contact in waiting if may[kind[contact]]), self._size))

    def _since(self, contacts: list[int]) -> tuple[Floats, Floats]:
        """When each came, and since when it is due."""
        return self.centre.drawn.at_s[contacts], np.array([self.due_at.get(contact, np.nan) for contact in contacts])

    def _ghosts(self, agent: int) -> list[int]:
        may, kind, now = self.eligible[:, agent], self.centre.drawn.kind, self.centre.now
        for contact in [contact for contact, until in self.ghosts.items() if until < now]:
            del self.ghosts[contact]
        return [contact for contact in self.ghosts if may[kind[contact]]]

    def _patience_s(self) -> float:
        return self.waited_s / self.gave_up

    def _occupancy(self, contact: int) -> tuple[Floats, float]:
        centre = self.centre
        occupancy = step.occupancies(centre.busy_s(), centre.signed_in_s(), self.rules.occupancy_prior_s)
        there = centre.on & self.eligible[centre.drawn.kind[contact]]
        return occupancy, float(occupancy[there].mean()) if there.any() else 0.0

    def _free_every_s(self) -> Floats:
        """By type (t,): mean time between two agents becoming free who may serve it."""
        rate = self.centre.taken / self.usual_s
        return np.asarray(1.0 / np.maximum(self.eligible @ rate, 1e-9))

    def _weight(self, contact: int) -> float:
        return float(self.centre.drawn.value[self.centre.drawn.kind[contact]])

    def _draw(self, contact: int) -> float | None:
        return float(self.centre.drawn.explore_luck[contact]) if self.settings.explore else None

    def _note(self, contact: int, agent: int, candidates: NDArray[np.intp], made: picking.Pick) -> None:
        if self.log is not None:
            self.log.append(Decision(self.centre.now, contact, agent, candidates, made))

    def _forget(self, contact: int) -> None:
        for kept in (self.contacts, self.counts_on, self.due_at, self.holds):
            kept.pop(contact, None)
