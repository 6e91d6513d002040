"""Patterns at size: events a second in one process, bytes of state, a back-test; conditions beside Google's CEL."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final

from firstring.bench.measures import Measure, quantile
from firstring.cel import compiled
from firstring.journey.patterns import Happened, Pattern, PatternSet, State, patterns_in
from firstring.journey.patterns.definition import EVENT
from firstring.journey.patterns.library import library, sources

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
START_MS: Final = int(START.timestamp()) * 1_000
DAYS: Final = 90
RULE: Final = (
    "event.properties.total > 50.0 && event.channel in ['web', 'mobile'] && event.properties.currency == 'EUR' "
    "&& has(event.properties.coupon) && event.properties.items >= 2"
)
"""Five clauses, for the comparison with Google's."""
_WEIGHTS: Final = {
    "Page Viewed": 40, "Element Clicked": 12, "Product Viewed": 12, "Products Searched": 5, "Product Added": 4,
    "Checkout Started": 2.5, "Payment Failed": 0.6, "Order Completed": 2, "Order Shipped": 2, "Order Delivered": 1.8,
    "Delivery Delayed": 0.3, "Signed In": 4, "Sign In Failed": 1, "Password Reset Requested": 0.3, "Signed Up": 0.4,
    "Call Started": 1, "Call Ended": 1, "Call Missed": 0.2, "Call Transferred": 0.2, "Chat Started": 0.8, "Chat Ended": 0.8,
    "Email Received": 0.6, "Email Sent": 3, "Refund Requested": 0.4, "Refund Issued": 0.3, "Complaint Opened": 0.2,
    "Complaint Resolved": 0.2, "Product Reviewed": 0.3, "Invoice Overdue": 0.2, "Invoice Paid": 1, "Outage Reported": 0.1,
}  # fmt: skip
_CHANNEL: Final = {"Call": "voice", "Chat": "chat", "Emai": "email"}
_EVENTS_PER_PERSON: Final = 20
_PACKED_EVENTS: Final = 50_000
_HEAD_BYTES: Final = 8


def many(count: int) -> list[Pattern]:
    """The library, then variants of it: other windows, and a condition more on the first step."""
    return [pattern for text in declarations(count) for pattern in patterns_in(text)]


def declarations(count: int) -> list[str]:
    """The same as YAML."""
    windows = {one.id: one.within_ms for one in library()}
    found = [text for _, text in sources()][:count]
    for round_number in range(1, 1_000):
        for name, text in sources():
            if len(found) >= count:
                return found
            lines = [line for line in text.splitlines() if not line.startswith(("title:", "id:", "within:"))]
            lines += [f"id: {name}_{round_number}", f"within: {windows[name] + round_number * 60_000}ms"]
            lines.append(f"where: \"event.channel != 'kiosk{round_number}'\"")
            found.append("\n".join(lines))
    return found


def people(count: int, seed: int) -> Iterator[list[Happened]]:
    """The events of so many people over 90 days, in visits, each person's in the order of time: 20 each on average."""
    random = Random(seed)  # noqa: S311 - made-up events
    names, weights = list(_WEIGHTS), list(_WEIGHTS.values())
    for _ in range(count):
        events: list[Happened] = []
        size = max(1, round(random.lognormvariate(2.7, 0.75)))
        at_ms = START_MS + random.randrange(DAYS * 86_400_000)
        for name in random.choices(names, weights, k=size):
            events.append(_event(random, name, at_ms))
            at_ms += (
                random.randrange(2_000, 120_000) if random.random() < 0.8 else random.randrange(3_600_000, 9 * 86_400_000)
            )
        yield events


def _event(random: Random, name: str, at_ms: int) -> Happened:
    properties: dict[str, Any] = {"order_id": random.randrange(1_000), "total": round(random.uniform(5, 900), 2)}
    if name == "Page Viewed":
        properties["path"] = random.choice(("/", "/shoes", "/prices", "/track/1042", "/cancel", "/account/export", "/help"))
    elif name == "Products Searched":
        properties["results"] = random.choice((0, 3, 12))
    elif name == "Product Reviewed":
        properties["rating"] = random.randrange(1, 6)
    elif name == "Element Clicked":
        properties["target"] = random.choice(("#pay", "#next", "#menu"))
    elif name == "Product Viewed":
        properties["product_id"] = f"p{random.randrange(30)}"
    elif name.startswith(("Call", "Chat", "Email")):
        properties["topic"] = random.choice(("bill", "delivery", "account"))
    channel = _CHANNEL.get(name[:4], "web")
    moment = START + timedelta(milliseconds=at_ms - START_MS)
    return Happened(at_ms, name, {"name": name, "channel": channel, "time": moment, "properties": properties})


def measured(*, events: int, live_events: int, seed: int, say: Callable[[str], None]) -> list[Measure]:
    """All figures of this part. events: of the back-test; live_events: of the runs event by event."""
    thirty, three_hundred = many(30), many(300)
    found = [*_expressions()]
    say("conditions: done")
    live = sorted(
        (one.at_ms, number, one)
        for number, ones in enumerate(people(live_events // _EVENTS_PER_PERSON, seed))
        for one in ones
    )
    for patterns in (thirty, three_hundred):
        found += _live(patterns, [(number, one) for _, number, one in live])
        say(f"{len(patterns)} patterns: done")
    found.append(_back_test(thirty, events, seed))
    return found


def _live(patterns: Sequence[Pattern], live: Sequence[tuple[int, Happened]]) -> Iterator[Measure]:
    """Everybody's events in the order of time: states in memory, then states as bytes, read and written for each event."""
    name = f"{len(patterns)} patterns"
    by = PatternSet(patterns)
    states: dict[int, State] = {}
    fired = 0
    begun_s = time.process_time()
    for number, happened in live:
        state = states.get(number)
        if state is None:
            state = states[number] = State()
        fired += len(by.step(state, happened))
    taken_s = time.process_time() - begun_s
    note = f"{fired:,} firings in {len(live):,} events of {len(states):,} people"
    goal = 10_000.0 if len(patterns) == 300 else None
    yield Measure(f"{name}, in process", "events/s", len(live) / taken_s, goal, "higher", note)
    contents: dict[int, bytes] = {}
    some = live[:_PACKED_EVENTS]
    begun_s = time.process_time()
    for number, happened in some:
        state = by.unpacked(contents.get(number, b""))
        by.step(state, happened)
        contents[number] = by.packed(state, happened.at_ms)
    taken_s = time.process_time() - begun_s
    yield Measure(f"{name}, state read and written for each event", "events/s", len(some) / taken_s, None, "higher")
    busy = [len(content) for content in contents.values() if len(content) > _HEAD_BYTES]
    note = f"mean {sum(busy) / len(busy):.0f}, most {max(busy)}; of {len(busy):,} people with anything under way"
    goal = 1_024.0 if len(patterns) == 30 else None
    yield Measure(f"{name}, state of an active person, p99", "bytes", quantile(busy, 0.99), goal, "lower", note)


def _back_test(patterns: Sequence[Pattern], events: int, seed: int) -> Measure:
    """Each person's log from its beginning, as `patterns try` does. Making the events is not counted."""
    by = PatternSet(patterns)
    count = fired = 0
    taken_s = 0.0
    end_ms = START_MS + (DAYS + 200) * 86_400_000
    chunk: list[list[Happened]] = []
    for one in people(events // _EVENTS_PER_PERSON * 2, seed + 1):
        chunk.append(one)
        count += len(one)
        if len(chunk) < 1_000 and count < events:
            continue
        begun_s = time.process_time()
        fired += sum(len(by.replayed(ones, now_ms=end_ms)[1]) for ones in chunk)
        taken_s += time.process_time() - begun_s
        chunk = []
        if count >= events:
            break
    note = f"{count:,} events, {fired:,} firings; {count / taken_s:,.0f} events/s"
    return Measure(f"back-test, {events:,} events x {len(patterns)} patterns", "s", taken_s, 60.0, "lower", note)


def _expressions() -> Iterator[Measure]:
    """One condition of five clauses by ours and by Google's C++, which have to agree."""
    random = Random(5)  # noqa: S311 - made-up events
    asked = [_rule_event(random) for _ in range(2_000)]
    ours = compiled(RULE, {"event": EVENT})
    begun_s = time.process_time()
    for _ in range(10):
        mine = [ours.holds(event) for event in asked]
    yield Measure("a condition of five clauses", "microseconds", (time.process_time() - begun_s) / 10 / len(asked) * 1e6)
    try:
        from cel_expr_python import cel as google
    except ImportError:
        note = "not installed: pip install 'firstring[bench]'"
        yield Measure("the same by cel-expr-python (Google's C++)", "microseconds", None, note=note)
        return
    program = google.NewEnv(variables={"event": google.Type.Map(google.Type.STRING, google.Type.DYN)}).compile(RULE)
    plain = [{**event, "time": None} for event in asked]
    begun_s = time.process_time()
    its = [program.eval(data={"event": event}).value() is True for event in plain]
    taken_us = (time.process_time() - begun_s) / len(asked) * 1e6
    wrong = sum(one != other for one, other in zip(mine, its, strict=True))
    note = f"{wrong} of {len(asked):,} answers unlike ours; {sum(mine):,} true"
    yield Measure("the same by cel-expr-python (Google's C++)", "microseconds", taken_us, note=note)


def _rule_event(random: Random) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "total": random.choice((60.0, 80, 20.0, "60")),
        "currency": random.choice(("EUR", "EUR", "USD")),
    }
    if random.random() < 0.8:
        properties["coupon"] = "X"
    if random.random() < 0.9:
        properties["items"] = random.randrange(5)
    return {
        "name": "Order Completed",
        "channel": random.choice(("web", "voice", "mobile")),
        "time": START,
        "properties": properties,
    }
