"""What a resolution weighs with: the one table of identity's priors, and the trained model where there is one.

Weights are in nats (natural log of a likelihood ratio: how much likelier is this evidence when the contact is that
person than when it is somebody new). Rates are probabilities, half-lives are days. The priors are named judgements, not
calibrated. A model takes the place of those about claims, and says how much less a common identifier means; what no
pair of records can show (ageing, use, relatives who are on no file) stays a prior.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import msgspec

from firstring.contact import Basis
from firstring.identity.caller.logs import Logs

if TYPE_CHECKING:
    from firstring.identity.caller.fitted import Fitted

NOT_CALIBRATED: Final = "These probabilities rest on named priors; they are not calibrated."
PARTLY_FITTED: Final = "What was said is weighed by a model fitted to the records; the rest rests on named priors."
RINGS_FITTED: Final = (
    "Who rings is fitted to contacts of which it is known who it was; newer ones did not show it calibrated."
)
CALIBRATED: Final = "Who rings is fitted to contacts of which it is known who it was; it was calibrated on newer ones."


class Prior(msgspec.Struct, frozen=True):
    """One prior: its value with the unit, and where it comes from."""

    value: float
    unit: str
    source: str


TABLE: Final[dict[str, Prior]] = {
    # An identifier that one person alone holds, seen just now. exp(4.5) = 90: of 91 callers from such a number 90 are
    # that person.
    "phone": Prior(4.5, "nats", "judgement: about 1 call in 90 from a known number is by somebody not on file"),
    "email": Prior(5.0, "nats", "judgement: an inbox is lent less often than a telephone"),
    "account": Prior(5.5, "nats", "judgement: stated by the holder or somebody acting for them"),
    "national_id": Prior(7.0, "nats", "judgement: made to be unique; what remains are typing errors"),
    "device": Prior(4.5, "nats", "judgement: as a telephone"),
    "cookie": Prior(4.0, "nats", "judgement: a browser at home is often shared"),
    "social": Prior(5.0, "nats", "judgement: as an inbox"),
    # How an identifier ages: after one half-life without being seen, half of its weight (as odds) is left.
    "phone_half_life": Prior(1460.0, "days", "FCC: about 35M of 300M US numbers are given back a year; rounded up"),
    "email_half_life": Prior(2920.0, "days", "judgement: inboxes are kept longer than numbers"),
    "account_half_life": Prior(7300.0, "days", "judgement: accounts are hardly ever given to another"),
    "national_id_half_life": Prior(36500.0, "days", "judgement: never given to another"),
    "device_half_life": Prior(1095.0, "days", "judgement: a telephone is sold or handed down after three years"),
    "cookie_half_life": Prior(365.0, "days", "judgement: browsers are cleared or replaced"),
    "social_half_life": Prior(2920.0, "days", "judgement: as an inbox"),
    "age_floor": Prior(0.05, "rate", "judgement: what is left of the oldest identifier"),
    "age_unknown": Prior(0.5, "rate", "judgement: one half-life, when nobody knows when it was last seen"),
    # Who of several holders of an identifier has it in hand: factors on the share of one of them.
    "verified_use": Prior(2.0, "factor", "judgement: whose it was found to be has it in hand rather than who wrote it down"),
    "recent_half_life": Prior(730.0, "days", "judgement: of those who hold a number, who was seen of late is in touch"),
    "recent_floor": Prior(0.3, "rate", "judgement: what is left of the use of one not seen for very long"),
    "given_on": Prior(
        0.1, "factor", "FCC: a number rests 45 days or more; who shows up with it after that is its new holder"
    ),
    "stated_else": Prior(
        0.05, "factor", "judgement: of two homes with one number, it is hardly theirs whose records mostly state others"
    ),
    "sim_changed": Prior(0.5, "factor", "judgement: another SIM since it was last seen: a new holder, or a new telephone"),
    "moved": Prior(0.2, "factor", "judgement: a landline stays with the home that they left"),
    # Claims against what is on record (Fellegi and Sunter 1969: ln m/u).
    "given_exact": Prior(4.5, "nats", "m .9 over u .01: a common given name is held by 1 in 100"),
    "given_nickname": Prior(3.5, "nats", "m .3 over u .01"),
    "given_close": Prior(3.0, "nats", "judgement: one letter typed or heard wrong"),
    "given_initial": Prior(2.5, "nats", "judgement: 1 name in 12 begins with the letter"),
    "given_similar": Prior(0.5, "nats", "judgement: little more than chance"),
    "given_different": Prior(-3.5, "nats", "1 - m = .03 over 1"),
    "family_exact": Prior(5.0, "nats", "m .9 over u .006"),
    "family_close": Prior(3.5, "nats", "judgement: one letter wrong"),
    "family_part": Prior(3.5, "nats", "judgement: one of two family names"),
    "family_similar": Prior(0.5, "nats", "judgement: little more than chance"),
    "family_swapped": Prior(8.0, "nats", "both names agree, in the other order"),
    "family_different": Prior(-2.5, "nats", "1 - m = .08 over 1: names change by marriage"),
    "middle_exact": Prior(2.5, "nats", "judgement: middle names are few and common"),
    "middle_initial": Prior(1.5, "nats", "judgement: an initial"),
    "middle_different": Prior(-1.5, "nats", "judgement: people have several"),
    "suffix_exact": Prior(0.7, "nats", "judgement: two generations of one name"),
    "suffix_different": Prior(-4.0, "nats", "judgement: Jr says that he is not Sr"),
    "birth_date_exact": Prior(8.0, "nats", "m .9 over u 1/20,000"),
    "birth_date_swapped": Prior(4.5, "nats", "judgement: day and month swapped"),
    "birth_date_edit1": Prior(4.5, "nats", "judgement: one digit wrong"),
    "birth_date_edit2": Prior(1.0, "nats", "judgement: two digits wrong, 1 date in 25 is as near"),
    "birth_date_month_day": Prior(1.0, "nats", "judgement: another year, 1 date in 365"),
    "birth_date_days": Prior(0.0, "nats", "judgement: near, and as often a relative's"),
    "birth_date_year": Prior(-2.0, "nats", "judgement: hardly better than any other date"),
    "birth_date_different": Prior(-4.0, "nats", "1 - m = .02 over 1"),
    "place_home": Prior(7.0, "nats", "m .5 over u .0005: a home among the callers of one organisation"),
    "place_home_close": Prior(6.0, "nats", "judgement: a home, written in another way"),
    "place_postcode": Prior(5.0, "nats", "m .8 over u 1/200 among the callers of one organisation"),
    "place_address": Prior(4.0, "nats", "judgement: the same street and number, of another town or of a mistyped one"),
    "place_near": Prior(1.0, "nats", "judgement: the next delivery office"),
    "place_city": Prior(1.5, "nats", "judgement: 1 customer in 5 is of the same place"),
    "place_city_close": Prior(1.0, "nats", "judgement: the same place, mistyped"),
    "place_different": Prior(-1.0, "nats", "1 - m = .35 over 1: people move"),
    # What asking costs, in seconds of the caller's time, and what answers are worth.
    "question_given_name_s": Prior(4.0, "s", "judgement: question and answer, at 150 words a minute"),
    "question_family_name_s": Prior(6.0, "s", "judgement: half of them are spelled out"),
    "question_birth_date_s": Prior(7.0, "s", "judgement: day, month and year"),
    "question_postcode_s": Prior(7.0, "s", "judgement: five to seven characters"),
    "question_last_order_s": Prior(20.0, "s", "judgement: it must be looked up"),
    "answer_right": Prior(0.95, "rate", "judgement: 1 answer in 20 is misheard, or other than on file"),
    "order_by_chance": Prior(0.001, "rate", "judgement: nobody guesses an order's number"),
    # What no identifier says.
    "nobody_pointed_at": Prior(-13.0, "nats", "one of about 500,000 people on file, before their claims are compared"),
    "confirmed": Prior(12.0, "nats", "judgement: an agent picked this person"),
    # How much relatives who are on no file for it use an identifier, beside somebody who was in touch just now.
    "landline_relative": Prior(0.5, "factor", "Eurostat: 2.2 people to a household, of whom we know who calls most"),
    "unlisted_relative": Prior(0.25, "factor", "judgement: what two of a home are on file for, a third one uses too"),
    "mobile_relative": Prior(0.15, "factor", "judgement: who shares a mobile is on file for it more often than not"),
    "relative_borrows": Prior(0.05, "factor", "judgement: of contacts by what is one person's, a relative makes 1 in 20"),
    "journey_offset": Prior(0.0, "nats", "judgement: over all contacts the journey's factors come to 1"),
    "journey_weight": Prior(1.0, "factor", "the journey's prior counts in full"),
}


def _version(table: dict[str, float]) -> str:
    """Named after the content, so that equal tables have equal versions everywhere."""
    content = msgspec.json.encode(sorted(table.items()))
    return f"prior-{hashlib.sha256(content).hexdigest()[:12]}"


class Weights:
    """The values that a resolution uses, by name, and the trained model. Immutable; `version` names both by content.

    Raises ValueError where the names are not those of TABLE.
    """

    def __init__(self, values: dict[str, float] | None = None, fitted: Fitted | None = None, rings: Basis = "prior") -> None:
        """rings: what the values of who rings rest on; they are judgements, or fitted to contacts (outcomes.py)."""
        self.values = {name: row.value for name, row in TABLE.items()} if values is None else dict(values)
        if self.values.keys() != TABLE.keys():
            raise ValueError(f"the table of priors has other names: {sorted(self.values.keys() ^ TABLE.keys())}")
        self.fitted = fitted
        self.rings: Basis = rings
        self.priors_version = _version(self.values)
        self.version = self.priors_version if fitted is None else f"{fitted.version}{JOINED}{self.priors_version}"

    def __getitem__(self, name: str) -> float:
        return self.values[name]

    @property
    def basis(self) -> Basis:
        if self.rings != "prior":
            return self.rings
        return "prior" if self.fitted is None else "fitted"

    @property
    def caveat(self) -> str:
        """What must be said with every probability, in words."""
        if self.rings != "prior":
            return CALIBRATED if self.rings == "calibrated" else RINGS_FITTED
        return NOT_CALIBRATED if self.fitted is None else PARTLY_FITTED

    @property
    def nobody_pointed_at(self) -> float:
        """ln odds of one given person when no identifier speaks for anybody."""
        return self["nobody_pointed_at"] if self.fitted is None else self.fitted.someone

    @property
    def alike(self) -> tuple[float, float] | None:
        """ln odds that somebody new is a namesake of a given person, and of their family name and region, against
        unrelated; None where no model knows."""
        return None if self.fitted is None else (self.fitted.namesakes, self.fitted.locals)

    def of(self, comparison: str, level: str, value: str = "") -> Logs:
        """The weights of an outcome, against somebody new who is unrelated."""
        if self.fitted is not None:
            logs = self.fitted.logs(comparison, level, value)
            if logs is not None:
                return logs
        weight = self[f"{comparison}_{level}"]
        return Logs(weight, weight if comparison in SHARED_AT_HOME else 0.0, 0.0, 0.0)

    def commonness(self, kind: str, value: str) -> float:
        """By how much a common identifier means less, in nats (<= 0)."""
        return 0.0 if self.fitted is None else self.fitted.commonness(kind, value)


JOINED: Final = "+"
"""Stands between the parts of a version: model-...+prior-..."""
SHARED_AT_HOME: Final = frozenset(("family", "place"))
"""Comparisons on which those who live together agree."""


DEFAULT: Final = Weights()
