"""Who calls: customers of the generator's population, and others, in the shares of MIX."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final, NamedTuple

from firstring.bench.people import MIX_FACTOR, SWITCHBOARDS, household


class Call(NamedTuple):
    """A caller: the number shown ("" where it is withheld), and what they would say of themselves."""

    kind: str
    number: str
    person: int | None
    claims: dict[str, str]


MIX: Final = (("known", 0.6), ("landline", 0.2), ("unknown", 0.14), ("switchboard", 0.05), ("withheld", 0.01))
"""Who calls a contact centre: customers on their own mobile, a household's landline, new numbers, companies, nobody."""


def callers(seed: int, households: int, count: int) -> Iterator[Call]:
    """`count` callers of a population of so many households, in the shares of MIX. The same seed gives the same."""
    rng = random.Random(seed * MIX_FACTOR + 1_000_003)  # noqa: S311
    draw = rng.random
    for _ in range(count):
        share = draw()
        kind = MIX[-1][0]
        for name, part in MIX:
            share -= part
            if share < 0:
                kind = name
                break
        yield _caller(rng, seed, households, kind)


def _caller(rng: random.Random, seed: int, households: int, kind: str) -> Call:
    draw = rng.random
    home = household(seed, int(draw() * households))
    while kind == "landline" and not home.landline:
        home = household(seed, int(draw() * households))
    person = home.members[int(draw() * len(home.members))]
    claims = {"given_name": person.given, "family_name": person.family, "birth_date": person.birth_date}
    claims["postcode"] = home.address[3]
    if kind == "known":
        return Call(kind, person.mobile, person.person, claims)
    if kind == "landline":
        return Call(kind, home.landline, person.person, claims)
    if kind == "switchboard":
        return Call(kind, SWITCHBOARDS[int(draw() * len(SWITCHBOARDS))], person.person, claims)
    if kind == "withheld":
        return Call(kind, "", person.person, claims)
    return Call(kind, f"+1907{2000000 + int(draw() * 8000000)}", None, claims)
