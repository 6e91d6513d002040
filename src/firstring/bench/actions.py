"""`firstring bench actions`: no sale while an issue is open, how long a choice takes, and whether estimates are right.

Policies are estimated on logs whose truth is known: Hillstrom's randomised trial (64,000 customers; what each mail brings is
known from its own arm, and a log that favours some mails is drawn from it) and the sample of Open Bandit. Offers are ranked
for the last purchase of each person of a generated shop, beside popularity.
"""

from __future__ import annotations

import csv
import gzip
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Final

from rich.console import Console

from firstring.bench import action_journeys
from firstring.bench.measures import quantile
from firstring.contact import Assurance, Candidate, Journey, Resolution, StepUp, Touch
from firstring.nextbest.actions import Catalogue
from firstring.nextbest.arbitrate import choose
from firstring.nextbest.declared import together
from firstring.nextbest.learning.logistic import better
from firstring.nextbest.learning.posterior import Learned, Tally
from firstring.nextbest.moment import Before, Moment
from firstring.nextbest.offers.affinity import Affinity, Offer, Shop, fitted
from firstring.nextbest.offers.interest import BOUGHT, Interest
from firstring.proof.offpolicy import Evaluation, Logged, evaluated

NOW: Final = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
WARM_UP: Final = 500
_MAILS: Final = {"Mens E-Mail": "mens", "Womens E-Mail": "womens", "No E-Mail": "none"}
_OPEN_BANDIT: Final = ("all", "men", "women")


def run_bench(*, journeys: int, choices: int, data: Path | None, seed: int, as_json: bool, console: Console) -> None:
    """Runs everything that there is data for, and prints it. Exit status 1 where a journey offered a sale."""
    found: dict[str, Any] = {"journeys": _journeys(journeys, seed), "arbitration": _arbitration(choices, seed)}
    found["offers"] = _offers(seed)
    hillstrom = None if data is None else data / "hillstrom.csv.gz"
    if hillstrom is not None and hillstrom.exists():
        found["hillstrom"] = _hillstrom(hillstrom, seed)
    bandit = None if data is None else data / "obd"
    if bandit is not None and bandit.exists():
        found["open_bandit"] = {campaign: _open_bandit(bandit, campaign) for campaign in _OPEN_BANDIT}
    if as_json:
        print(json.dumps(found))  # noqa: T201 - the result
    else:
        console.print_json(json.dumps(found))
    if found["journeys"]["violations"]:
        sys.exit(1)


def _journeys(count: int, seed: int) -> dict[str, Any]:
    counted: Counter[str] = Counter()
    violations = []
    begun = time.perf_counter()
    for number in range(count):
        try:
            counted += action_journeys.check(seed * 10_000_000 + number)
        except AssertionError as error:
            violations.append(f"seed {seed * 10_000_000 + number}: {error}")
    return {"journeys": count, "violations": len(violations), "first": violations[:3], **dict(counted),
            "seconds": round(time.perf_counter() - begun, 1)}  # fmt: skip


# --- how long a choice takes ---------------------------------------------------------------------------------------


def catalogue_of(count: int) -> Catalogue:
    """Actions of every kind, each with an audience of three conditions, caps, hours and content."""
    kinds = ("offer", "service", "offer", "self_service")
    texts = []
    for number in range(count):
        kind = kinds[number % 4]
        low = 1_000 if kind == "service" else number  # service comes first where it applies: here offers are to be weighed
        texts.append(
            f"""
id: a{number}
kind: {kind}
route: {"email" if number % 3 else "desk"}
text: Do it
trigger: {{patterns: [p]}}
audience: "traits.visits_30d > {low} && traits.tier == 'gold' && !('refund' in issues)"
chance: 0.{10 + number}
value: {20 + number}
caps: [{{most: 3, per: 7d}}, {{most: 5, per: 30d, of: kind}}]
hours: {{quiet: "21:00-08:00"}}
content: {{en: {{text: Hello}}}}
"""
        )
    return together([("bench.yaml", "---".join(texts))])


def _arbitration(count: int, seed: int) -> dict[str, Any]:
    random = Random(seed)  # noqa: S311 - a benchmark's world
    actions = catalogue_of(50)
    touches = tuple(Touch(i, "web", "Product Viewed", NOW - timedelta(hours=i), "Product viewed", 1) for i in range(40))
    somebody = Resolution((Candidate(1, 0.999), Candidate(2, 0.001)), 0.0, 0.0, "prior", "bench")
    journeys = (Journey(1, touches), Journey(2))
    sure = (Assurance(1, 0.0, "prior", "addressed", StepUp("none", ""), "bench"),)
    before = tuple(Before(f"a{i}", "email", "offer", NOW - timedelta(days=i)) for i in range(3))
    learned = Learned("bench", {f"a{i}": Tally(random.randint(50, 500), random.randint(5, 40)) for i in range(50)})
    took: list[float] = []
    used: list[float] = []
    allowed = 0
    for number in range(count + WARM_UP):
        moment = Moment(
            cause="pattern", fired="p", fired_at=NOW, traits={"visits_30d": random.randint(30, 300), "tier": "gold"},
            consents={"marketing/email": True}, routes=("desk", "email"), zones=("Europe/Berlin",), before=before,
            draws=tuple(random.random() for _ in range(actions.policy.explored)),
        )  # fmt: skip
        begun, used_ns = time.perf_counter_ns(), time.thread_time_ns()
        chosen = choose(journeys, somebody, sure, channel="web", now=NOW, actions=actions, moment=moment, learned=learned)
        used.append((time.thread_time_ns() - used_ns) / 1_000.0)
        took.append((time.perf_counter_ns() - begun) / 1_000.0)
        if number >= WARM_UP:
            allowed += sum(one.allowed for one in chosen.considered)
    took, used = took[WARM_UP:], used[WARM_UP:]
    return {"actions": 50, "choices": count, "allowed": round(allowed / count, 1),
            "p50_us": round(quantile(took, 0.5), 1), "p99_us": round(quantile(took, 0.99), 1),
            "p50_processor_us": round(quantile(used, 0.5), 1),
            "p99_processor_us": round(quantile(used, 0.99), 1)}  # fmt: skip


# --- whether estimates are right -----------------------------------------------------------------------------------


def _hillstrom(path: Path, seed: int) -> dict[str, Any]:
    """A log that favours some mails is drawn from the trial: each customer is kept with a probability that depends on the
    customer and the arm. What each policy brings is known from the whole trial."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    policies: dict[str, Callable[[Mapping[str, str]], Mapping[str, float]]] = {
        "mens to all": lambda _: {"mens": 1.0},
        "womens to all": lambda _: {"womens": 1.0},
        "none to all": lambda _: {"none": 1.0},
        "by what they bought": lambda row: {"womens": 1.0} if row["mens"] == "0" else {"mens": 1.0},
        "half and half": lambda _: {"mens": 0.5, "womens": 0.5},
    }
    runs = 20
    found: dict[str, Any] = {}
    for name, policy in policies.items():
        truth = _trial_value(rows, policy)
        held: Counter[str] = Counter()
        width: dict[str, float] = dict.fromkeys(("ips", "snips", "dr"), 0.0)
        for run in range(runs):
            made = _biased(rows, policy, seed * 1_000 + run)
            for estimator in width:
                estimate = getattr(made, estimator)
                held[estimator] += estimate.low <= truth <= estimate.high
                width[estimator] += (estimate.high - estimate.low) / runs
        found[name] = {
            "truth": round(truth, 4),
            "last": {one: round(getattr(made, one).value, 4) for one in width},
            "held_of_20": dict(held),
            "width": {one: round(value, 4) for one, value in width.items()},
        }
    found["chance_by_regression"] = _regression(rows)
    return found


def _trial_value(rows: Sequence[Mapping[str, str]], policy: Callable[[Mapping[str, str]], Mapping[str, float]]) -> float:
    """By the randomised trial itself: each arm has a third of the customers."""
    total = weight = 0.0
    for row in rows:
        probability = policy(row).get(_MAILS[row["segment"]], 0.0)
        total += probability * float(row["visit"])
        weight += probability
    return total / weight


def _biased(
    rows: Sequence[Mapping[str, str]], policy: Callable[[Mapping[str, str]], Mapping[str, float]], seed: int
) -> Evaluation:
    random = Random(seed)  # noqa: S311 - a benchmark's draw
    log, choices = [], []
    for row in rows:
        action = _MAILS[row["segment"]]
        favoured = "mens" if row["mens"] == "1" else "womens"
        shares = {one: 0.6 if one == favoured else 0.2 for one in ("mens", "womens", "none")}
        if random.random() >= shares[action] / 0.6 / 2.0:
            continue  # kept in proportion to the share: what is left is a log with these propensities
        facts = {name: float(row[name]) for name in ("recency", "history", "mens", "womens", "newbie")}
        log.append(Logged(action, shares[action], float(row["visit"]), {**facts, "channel": row["channel"]}))
        choices.append(policy(row))
    return evaluated(log, choices)


def _regression(rows: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """By how many nats an outcome a regression says more than the rate in the context (the channel), by arm."""
    found = {}
    for segment, name in _MAILS.items():
        of_arm = [row for row in rows if row["segment"] == segment][:5_000]
        facts = [
            {"recency": float(row["recency"]), "history": float(row["history"]), "mens": float(row["mens"]),
             "womens": float(row["womens"]), "newbie": float(row["newbie"]), "zip": row["zip_code"],
             "context": row["channel"]}
            for row in of_arm
        ]  # fmt: skip
        model, gain = better(facts, [row["visit"] == "1" for row in of_arm])
        found[name] = {"gain_nats": round(gain, 5), "used": model is not None}
    return found


def _open_bandit(folder: Path, campaign: str) -> dict[str, Any]:
    """What Bernoulli Thompson sampling brings, estimated on the random log, beside what its own log shows. Its choice does
    not depend on the customer: it is taken as how often it chose each item at a position, out of its own log."""
    logs: dict[str, list[dict[str, str]]] = {}
    for policy in ("random", "bts"):
        with (folder / policy / campaign / f"{campaign}.csv").open(encoding="utf-8") as lines:
            logs[policy] = list(csv.DictReader(lines))
    counted: dict[str, Counter[str]] = {}
    for row in logs["bts"]:
        counted.setdefault(row["position"], Counter())[row["item_id"]] += 1
    shares = {
        position: {item: count / items.total() for item, count in items.items()} for position, items in counted.items()
    }
    log = [
        Logged(row["item_id"], float(row["propensity_score"]), float(row["click"]), {"position": float(row["position"])})
        for row in logs["random"]
    ]
    made = evaluated(log, [shares[row["position"]] for row in logs["random"]])
    own = evaluated([Logged("x", 1.0, float(row["click"])) for row in logs["bts"]], [{"x": 1.0}] * len(logs["bts"])).logged
    return {
        "own_log": [round(value, 5) for value in (own.value, own.low, own.high)],
        **{
            name: [round(value, 5) for value in (one.value, one.low, one.high)]
            for name, one in (("ips", made.ips), ("snips", made.snips), ("dr", made.dr))
        },
        "effective": round(made.effective),
    }


# --- offers --------------------------------------------------------------------------------------------------------


def _offers(seed: int, people: int = 8_000, products: int = 400) -> dict[str, Any]:
    """A generated shop: each person has two of twenty tastes and now and then buys what everybody does. The last purchase of
    each of a quarter of them is left out and looked for among the first ten offers."""
    random = Random(seed)  # noqa: S311 - a benchmark's world
    weights = [1.0 / (rank + 1) ** 0.8 for rank in range(products)]
    tastes = [random.sample(range(products), 40) for _ in range(20)]
    histories: list[list[Interest]] = []
    for _ in range(people):
        own = random.sample(tastes, 2)
        bought = []
        for _step in range(random.randint(2, 12)):
            pool = random.choice(own) if random.random() < 0.7 else range(products)
            bought.append(random.choices(list(pool), [weights[product] for product in pool])[0])
        once = list(dict.fromkeys(bought))
        days = [NOW - timedelta(days=40 + 3 * place) for place in range(len(once))]
        histories.append([Interest(f"p{product}", BOUGHT, 4.0, at) for product, at in zip(once, days, strict=True)])
    asked = [history for place, history in enumerate(histories) if place % 4 == 0 and len(history) >= 2]
    known = [history[1:] if place % 4 == 0 else history for place, history in enumerate(histories)]
    offers = [Offer(f"p{product}", f"Product {product}", products=(f"p{product}",)) for product in range(products)]
    shop = Shop(offers, fitted(known))
    hits: Counter[str] = Counter()
    begun = time.perf_counter()
    for history in asked:
        last = history[0].what
        hits["affinity"] += last in {one.offer_id for one in shop.ranked(history[1:], NOW, 10)}
    took = (time.perf_counter() - begun) / len(asked)
    popular = Shop(offers, Affinity(shop.affinity.people, shop.affinity.popularity))  # leaves out what was bought, too
    for history in asked:
        hits["popularity"] += history[0].what in {one.offer_id for one in popular.ranked(history[1:], NOW, 10)}
    return {"people": people, "products": products, "asked": len(asked), "microseconds": round(took * 1e6),
            "hit_at_10": {name: round(count / len(asked), 4) for name, count in hits.items()}}  # fmt: skip
