"""Which offers suit a person: products that go together with what they showed interest in, the recent counting more; for
somebody of whom nothing is known, what is popular.

Similarity of one product to another is the share of those interested in the one who are in the other, too, divided by the
other's own share to the power of RARITY (Deshpande and Karypis 2004), shrunk where few were (SHRINKAGE people pull it to
nothing). Interest fades by half in HALF_LIFE_DAYS. Popularity counts a little for everybody, and alone decides where nothing
else does.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

import msgspec

from firstring.contact import Value
from firstring.nextbest.moment import Shown
from firstring.nextbest.offers.interest import BOUGHT, SEARCHED, Interest

HALF_LIFE_DAYS: Final = 30.0
SHRINKAGE: Final = 5.0
RARITY: Final = 0.3
"""0: what most have, whoever they are; 1: what only they have. Chosen on generated shops, not those of the benchmark."""
NEIGHBOURS: Final = 50
POPULARITY: Final = 0.05
"""How much the most popular product of all counts for somebody who has interests of their own."""
OWN: Final = 1.0
"""How similar a product is to itself: what somebody looked at, and has not bought, is offered before what goes with it."""
BOUGHT_DAYS: Final = 30.0
"""What was bought is not offered again for so long."""
BOUGHT_ONCE_DAYS: Final = 365.0
"""The same for what was bought once only: nothing tells that it is bought again."""
PRODUCTS_OF_A_PERSON: Final = 50
WORD_OFFERS: Final = 200
"""Offers looked at for one word that was searched for."""
SEARCHED_COUNTS: Final = 0.5
"""How much a word of the title that was searched for counts, beside a product that was looked at."""
_DAY_S: Final = 86_400.0


class Offer(Value, frozen=True):
    """An offer of the catalogue. products: ids by which events name it; starts_at, ends_at: when it holds."""

    offer_id: str
    title: str
    price: float | None = None
    currency: str = ""
    category: str = ""
    url: str = ""
    image: str = ""
    products: tuple[str, ...] = ()
    starts_at: datetime | None = None
    ends_at: datetime | None = None


class Affinity(Value, frozen=True):
    """Which products go together. popularity: product -> share of the people; near: product -> (product, similarity), the
    most similar first."""

    people: int = 0
    popularity: dict[str, float] = msgspec.field(default_factory=dict)
    near: dict[str, tuple[tuple[str, float], ...]] = msgspec.field(default_factory=dict)


NOTHING: Final = Affinity()


def fitted(people: Iterable[Sequence[Interest]]) -> Affinity:
    """The model out of the interests of people, each person's newest first. Linear in their products, which are bounded."""
    count = 0
    carriers: Counter[str] = Counter()
    both: dict[str, Counter[str]] = defaultdict(Counter)
    for interests in people:
        products = list(dict.fromkeys(one.what for one in interests if one.kind != SEARCHED and one.strength > 0.0))
        products = products[:PRODUCTS_OF_A_PERSON]
        if not products:
            continue
        count += 1
        carriers.update(products)
        for place, product in enumerate(products):
            for other in products[place + 1 :]:
                both[product][other] += 1
                both[other][product] += 1
    near = {}
    for product, others in both.items():
        similar = [
            (other, shared / carriers[product] / (carriers[other] / count) ** RARITY * shared / (shared + SHRINKAGE))
            for other, shared in others.items()
        ]
        similar.sort(key=lambda one: (-one[1], one[0]))
        near[product] = tuple(similar[:NEIGHBOURS])
    return Affinity(count, {product: number / count for product, number in carriers.items()}, near)


class Shop:
    """The offers of a catalogue with what goes together, ready to be ranked for one person after another."""

    def __init__(self, offers: Sequence[Offer] = (), affinity: Affinity = NOTHING) -> None:
        self.offers = tuple(offers)
        self.affinity = affinity
        self._by_product: dict[str, list[int]] = defaultdict(list)
        self._by_word: dict[str, list[int]] = defaultdict(list)
        top = max(affinity.popularity.values(), default=0.0)
        self._popular: list[float] = []
        for place, offer in enumerate(self.offers):
            for product in _ids(offer):
                self._by_product[product].append(place)
            for word in set(_words(f"{offer.title} {offer.category}")):
                self._by_word[word].append(place)
            popular = max(affinity.popularity.get(product, 0.0) for product in _ids(offer))
            self._popular.append(popular / top if top else 0.0)
        self._by_popularity = sorted(
            range(len(self.offers)), key=lambda place: (-self._popular[place], self.offers[place].offer_id)
        )

    def ranked(self, interests: Sequence[Interest], now: datetime, most: int, category: str = "") -> tuple[Shown, ...]:
        """The `most` offers that suit best, of those that hold now and were not bought lately; of one category if given."""
        bought, wanted, searched = _weights(interests, now)
        owned = {one.what for one in interests if one.kind == BOUGHT}
        scores: dict[str, float] = defaultdict(float)
        for product, weight in wanted.items():
            if product not in owned:
                scores[product] += OWN * weight
            for other, similarity in self.affinity.near.get(product, ()):
                scores[other] += similarity * weight
        own: dict[int, float] = defaultdict(float)
        for product, score in scores.items():
            for place in self._by_product.get(product, ()):
                own[place] = max(own[place], score)
        for word, weight in searched.items():
            for place in self._by_word.get(word, ())[:WORD_OFFERS]:
                own[place] += SEARCHED_COUNTS * weight

        def fits(place: int) -> bool:
            offer = self.offers[place]
            starts, ends = offer.starts_at, offer.ends_at
            holds = (starts is None or starts <= now) and (ends is None or ends > now)
            return holds and (not category or offer.category == category) and bought.isdisjoint(_ids(offer))

        places = [place for place in own if fits(place)]
        popular = (place for place in self._by_popularity if place not in own and fits(place))
        places += islice(popular, most)
        places.sort(
            key=lambda place: (-(own.get(place, 0.0) + POPULARITY * self._popular[place]), self.offers[place].offer_id)
        )
        return tuple(self._shown(place, own.get(place, 0.0)) for place in places[:most])

    def _shown(self, place: int, own: float) -> Shown:
        o = self.offers[place]
        score = own + POPULARITY * self._popular[place]
        why = "affinity" if own > 0.0 else "popular"
        return Shown(o.offer_id, o.title, o.price, o.currency, o.url, o.image, o.category, score, why)


def _ids(offer: Offer) -> tuple[str, ...]:
    return offer.products or (offer.offer_id,)


def _words(text: str) -> list[str]:
    return [word for word in text.casefold().split() if len(word) > 2]


def _weights(
    interests: Sequence[Interest], now: datetime
) -> tuple[frozenset[str], Mapping[str, float], Mapping[str, float]]:
    """What was bought lately; product -> weight; words searched for -> weight. Weights of each sum to one at most."""
    times = Counter(one.what for one in interests if one.kind == BOUGHT)
    last = {one.what: one.at for one in reversed(interests) if one.kind == BOUGHT}
    bought = frozenset(
        what for what, at in last.items() if now - at < timedelta(days=BOUGHT_DAYS if times[what] > 1 else BOUGHT_ONCE_DAYS)
    )
    wanted: dict[str, float] = defaultdict(float)
    searched: dict[str, float] = defaultdict(float)
    for one in interests[: 4 * PRODUCTS_OF_A_PERSON]:
        age_days = max(0.0, (now - one.at).total_seconds() / _DAY_S)
        weight = one.strength * math.exp2(-min(age_days / HALF_LIFE_DAYS, 1_000.0))
        if one.kind == SEARCHED:
            for word in _words(one.what):
                searched[word] += weight
        else:
            wanted[one.what] += weight
    return bought, _scaled(wanted), _scaled(searched)


def _scaled(weights: Mapping[str, float]) -> Mapping[str, float]:
    positive = {what: weight for what, weight in weights.items() if weight > 0.0}
    total = sum(positive.values())
    return {what: weight / total for what, weight in positive.items()} if total > 0.0 else {}
