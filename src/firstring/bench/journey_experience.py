"""`firstring bench journey --experience`: does the experience score tell who is about to complain, or to call again?

The world is made here: what people go through, and when it makes them complain, by a process of its own: harms drawn for
each world, forgotten by a power of time, felt unlike by each person, and half of the small ones never told to us. Where a
folder with the call log of a bank is given, the same question is asked of real calls: who calls again within a week?
"""

from __future__ import annotations

import csv
import gzip
import math
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

from firstring.bench.measures import Measure
from firstring.contact import TouchRead
from firstring.errors import BadInput
from firstring.journey.experience import START, experience

DAYS: Final = 120
AHEAD_DAYS: Final = 14
ASKED_AFTER_DAYS: Final = 60
BASE_A_DAY: Final = 0.0004
"""Complaints of somebody to whom nothing happened."""
AGAIN_DAYS: Final = 7
LOG_FILES: Final = "anonbank_1999_*.txt.gz"
_BEGIN: Final = datetime(2026, 1, 1, tzinfo=UTC)
_CONTACTS: Final = frozenset(("Call Started", "Chat Started", "Email Received"))
_HARMS: Final = {
    "Payment Failed": 0.8, "Delivery Failed": 1.6, "Delivery Delayed": 1.0, "Sign In Failed": 0.25, "Refund Denied": 1.4,
    "Error Shown": 0.4, "Call Missed": 0.8, "Rage Clicked": 0.5,
}  # fmt: skip
"""The middle of what is drawn for a world, as the logarithm of the complaint's rate. The score knows none of it."""
_QUIET_TOLD: Final = 0.5
"""Of small harms, the share that we hear of."""


class Asked(NamedTuple):
    """One person at one moment: what had happened, and whether it came true afterwards. rate: of the made process, which
    nothing that looks at events can beat; 0 where it is not known."""

    touches: list[TouchRead]
    at: datetime
    came_true: bool
    rate: float = 0.0


Signal = Callable[[Asked], float]
"""The higher, the likelier."""


def measured(*, people: int, seed: int, data: Path | None, say: Callable[[str], None]) -> list[Measure]:
    """AUC of the score and of its peers, in the world made here and, where a folder is given, on the real log."""
    say(f"a world of {people:,} people over {DAYS} days")
    found = _compared("complaint within 14 days, made world", list(world(people, seed)), say)
    if data is not None:
        say(f"calls of {data}")
        found += _compared("call again within 7 days, bank's log", list(bank(data)), say)
    return found


def _compared(name: str, asked: Sequence[Asked], say: Callable[[str], None]) -> list[Measure]:
    true = sum(one.came_true for one in asked)
    say(f"{name}: {len(asked):,} asked, {true:,} came true")
    note = f"n={len(asked):,}, {true / max(1, len(asked)):.1%} came true"
    truths = [one.came_true for one in asked]
    scores = [_by_score(one) for one in asked]
    peers = {label: [signal(one) for one in asked] for label, signal in _PEERS.items()}
    best = max(auc(values, truths) for values in peers.values())
    found = [Measure(f"{name}: AUC, experience score", "", auc(scores, truths), None, "higher", note)]
    found += [Measure(f"{name}: AUC, {label}", "", auc(values, truths), None, "higher") for label, values in peers.items()]
    if any(one.rate for one in asked):
        bound = auc([one.rate for one in asked], truths)
        found.append(Measure(f"{name}: AUC, the made rate itself", "", bound, None, "higher", "nothing can do better"))
    least = _least_gain(scores, list(peers.values()), truths)
    found.append(
        Measure(
            f"{name}: score ahead of its best peer",
            "",
            found[0].value - best,
            None,
            "higher",
            f"95 %: at least {least:+.3f}",
        )
        if found[0].value is not None
        else Measure(f"{name}: score ahead of its best peer", "", None)
    )
    return found


def _by_score(one: Asked) -> float:
    return START - experience(one.touches, one.at).score


def _recency(one: Asked) -> float:
    last = max((touch.occurred_at for touch in one.touches if touch.name in _CONTACTS), default=None)
    return -math.inf if last is None else -(one.at - last).total_seconds()


def _contacts(one: Asked) -> float:
    since = one.at - timedelta(days=28)
    return sum(touch.name in _CONTACTS and touch.occurred_at >= since for touch in one.touches)


def _failures(one: Asked) -> float:
    since = one.at - timedelta(days=28)
    return sum(touch.name in _HARMS and touch.occurred_at >= since for touch in one.touches)


_PEERS: Final[dict[str, Signal]] = {
    "recency of the last contact": _recency,
    "contacts in 28 days": _contacts,
    "failures in 28 days": _failures,
}


def auc(values: Sequence[float], truths: Sequence[bool]) -> float:
    """The chance that one that came true ranks above one that did not; ties are half."""
    order = sorted(range(len(values)), key=values.__getitem__)
    positives = sum(truths)
    negatives = len(truths) - positives
    if not positives or not negatives:
        return 0.5
    total = 0.0
    place = 0
    while place < len(order):
        end = place
        while end < len(order) and values[order[end]] == values[order[place]]:
            end += 1
        rank = (place + end + 1) / 2.0
        total += rank * sum(truths[order[index]] for index in range(place, end))
        place = end
    return (total - positives * (positives + 1) / 2.0) / (positives * negatives)


def _least_gain(scores: Sequence[float], peers: Sequence[Sequence[float]], truths: Sequence[bool], draws: int = 60) -> float:
    """The lower end of the 95 % interval of the gain over the best peer (bootstrap)."""
    chance = random.Random(1)  # noqa: S311 - a benchmark
    gains = []
    for _ in range(draws):
        drawn = chance.choices(range(len(truths)), k=len(truths))
        true = [truths[index] for index in drawn]
        best = max(auc([peer[index] for index in drawn], true) for peer in peers)
        gains.append(auc([scores[index] for index in drawn], true) - best)
    return sorted(gains)[max(0, int(draws * 0.025))]


# --- the made world --------------------------------------------------------------------------------------------------


class _Person(NamedTuple):
    touches: list[TouchRead]
    harms: list[tuple[float, float, float]]
    """(day, what it does to the logarithm of the rate, day on which it was put right or infinity)."""


def world(people: int, seed: int) -> Iterator[Asked]:
    """People asked at one moment each, those who complained just before left out."""
    chance = random.Random(seed)  # noqa: S311 - a benchmark
    harm = {name: middle * chance.lognormvariate(0.0, 0.4) for name, middle in _HARMS.items()}
    forgets = chance.uniform(0.5, 1.0)
    righted = chance.uniform(0.2, 0.7)
    for number in range(people):
        person = _lived(number, chance, harm)
        asked_day = chance.uniform(ASKED_AFTER_DAYS, DAYS - AHEAD_DAYS)
        feels = chance.lognormvariate(0.0, 0.5)
        complained = _complaints(person, chance, feels, forgets, righted)
        if any(asked_day - AHEAD_DAYS <= day < asked_day for day in complained):
            continue
        at = _BEGIN + timedelta(days=asked_day)
        before = [touch for touch in person.touches if touch.occurred_at <= at]
        came_true = any(asked_day <= day < asked_day + AHEAD_DAYS for day in complained)
        yield Asked(before, at, came_true, feels * _felt(person, asked_day, forgets, righted))


def _lived(number: int, chance: random.Random, harm: dict[str, float]) -> _Person:
    """What happens to one person: visits and contacts by their habit, orders, what goes wrong with them."""
    person = _Person([], [])

    def happens(day: float, name: str, channel: str, **said: Any) -> None:
        if day < DAYS:
            event = len(person.touches) + 1
            person.touches.append(TouchRead(event, number, number, channel, name, _BEGIN + timedelta(days=day), said))

    def goes_wrong(day: float, name: str, put_right: tuple[str, float, float] | None = None, **said: Any) -> None:
        is_small = harm[name] < 0.6
        ends = math.inf
        if put_right is not None and chance.random() < put_right[1]:
            ends = day + chance.expovariate(1.0 / put_right[2])
            happens(ends, put_right[0], "backend", **said)
        if not is_small or chance.random() < _QUIET_TOLD:
            happens(day, name, "web", **said)
        person.harms.append((day, harm[name], ends))
        if chance.random() < 0.35:
            happens(
                day + chance.expovariate(1.0), "Call Started", "voice", topic="delivery", wait_s=chance.expovariate(1 / 90)
            )

    for day in _times(chance, chance.gammavariate(0.6, 0.03)):  # some people call a lot, and mean nothing by it
        channel, name = chance.choice((("voice", "Call Started"), ("chat", "Chat Started"), ("email", "Email Received")))
        happens(day, name, channel, topic=chance.choice(("order", "billing", "question", "advice")))
        if name == "Call Started" and chance.random() < 0.06:
            goes_wrong(day, "Call Missed")
    for count, day in enumerate(_times(chance, chance.gammavariate(1.5, 0.02))):
        order = f"{number}-{count}"
        if chance.random() < 0.1:
            goes_wrong(day, "Payment Failed", ("Payment Succeeded", 0.7, 0.1), order_id=order)
        happens(day, "Order Completed", "web", order_id=order)
        unlucky = chance.random()
        if unlucky < 0.06:
            goes_wrong(day + 3, "Delivery Failed", ("Order Delivered", 0.6, 4.0), order_id=order)
            if chance.random() < 0.3:
                goes_wrong(day + 6, "Refund Denied", None, order_id=order)
        elif unlucky < 0.18:
            goes_wrong(day + 3, "Delivery Delayed", ("Order Delivered", 0.85, 3.0), order_id=order)
        else:
            happens(day + 3, "Order Delivered", "backend", order_id=order)
    for name, rate in (("Sign In Failed", 0.01), ("Error Shown", 0.006), ("Rage Clicked", 0.004)):
        for day in _times(chance, rate):
            goes_wrong(day, name)
    return person


def _times(chance: random.Random, a_day: float) -> Iterator[float]:
    day = chance.expovariate(max(1e-6, a_day))
    while day < DAYS:
        yield day
        day += chance.expovariate(max(1e-6, a_day))


def _complaints(person: _Person, chance: random.Random, feels: float, forgets: float, righted: float) -> list[float]:
    """The days of complaints: a rate for each day, raised by what went wrong and is not forgotten yet."""
    days = []
    for day in range(DAYS):
        felt = _felt(person, day, forgets, righted)
        if chance.random() < min(0.5, BASE_A_DAY * math.exp(min(6.0, 2.0 * feels * felt))):
            days.append(day + chance.random())
    return days


def _felt(person: _Person, day: float, forgets: float, righted: float) -> float:
    """What is left of everything that went wrong before a day."""
    felt = 0.0
    for began, weight, ends in person.harms:
        if began <= day:
            left = 1.0 - righted if ends <= day else 1.0
            felt += left * weight * (1.0 + (day - began)) ** -forgets
    return felt


# --- a real log ------------------------------------------------------------------------------------------------------


def bank(folder: Path) -> Iterator[Asked]:
    """The calls of customers who said who they are, but for those of the last week: were they followed by another one?

    The log of a bank's call centre in 1999 (Mandelbaum, Technion), which is not part of this project. Raises BadInput
    file_missing.
    """
    files = sorted(folder.glob(LOG_FILES))
    if not files:
        raise BadInput("file_missing", f"There is no {LOG_FILES}.", where={"folder": str(folder)}, hint="See docs/words.md.")
    calls: dict[str, list[tuple[datetime, dict[str, str]]]] = {}
    for file in files:
        with gzip.open(file, "rt", encoding="latin-1", newline="") as opened:
            for row in csv.DictReader(opened, delimiter="\t"):
                # 0: they did not say it; 1.26291E+11: a spreadsheet made one of several.
                if row["customer_id"].isdecimal() and row["customer_id"] != "0":
                    at = datetime.strptime(f"{row['date']} {row['vru_entry']}", "%y%m%d %H:%M:%S").replace(tzinfo=UTC)
                    calls.setdefault(row["customer_id"], []).append((at, row))
    last = max(at for of_customer in calls.values() for at, _ in of_customer)
    for customer, of_customer in sorted(calls.items()):
        of_customer.sort(key=lambda one: one[0])
        touches: list[TouchRead] = []
        for place, (at, row) in enumerate(of_customer):
            touches += _call(len(touches) + 1, int(customer), at, row)
            if at <= last - timedelta(days=AGAIN_DAYS):
                ended = touches[-1].occurred_at
                later = (other for other, _ in of_customer[place + 1 :])
                again = any(ended < other <= ended + timedelta(days=AGAIN_DAYS) for other in later)
                yield Asked(list(touches), ended, again)


def _call(event_id: int, customer: int, at: datetime, row: dict[str, str]) -> list[TouchRead]:
    waited_s = float(row["q_time"] or 0)
    talked_s = float(row["ser_time"] or 0)
    said = {"topic": row["type"].strip(), "wait_s": waited_s}
    begun = TouchRead(event_id, customer, customer, "voice", "Call Started", at, said)
    ended = at + timedelta(seconds=float(row["vru_time"] or 0) + waited_s + talked_s)
    left = row["outcome"].strip() == "HANG" and waited_s > 0
    name = "Call Abandoned" if left else "Call Ended"
    return [begun, TouchRead(event_id + 1, customer, customer, "voice", name, ended, {"topic": said["topic"]})]
