"""The one table of identity's priors. NOT CALIBRATED: named judgements, to be replaced by a trained model.

Weights are in nats (natural log of a likelihood ratio: how much likelier is this evidence when the contact is that
person than when it is somebody new). Rates are probabilities, half-lives are days.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

NOT_CALIBRATED: Final = "These probabilities rest on named priors; they are not calibrated."


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
    # Claims against what is on record (Fellegi and Sunter 1969: ln m/u).
    "given_agree": Prior(4.5, "nats", "m .9 over u .01: a common given name is held by 1 in 100"),
    "given_nickname": Prior(3.5, "nats", "m .3 over u .01"),
    "given_close": Prior(3.0, "nats", "judgement: one letter typed or heard wrong, or an initial"),
    "given_disagree": Prior(-3.5, "nats", "1 - m = .03 over 1"),
    "family_agree": Prior(5.0, "nats", "m .9 over u .006"),
    "family_close": Prior(3.5, "nats", "judgement: one letter wrong, or one of two family names"),
    "family_disagree": Prior(-2.5, "nats", "1 - m = .08 over 1: names change by marriage"),
    "suffix_disagree": Prior(-4.0, "nats", "judgement: Jr says that he is not Sr"),
    "birth_date_agree": Prior(8.0, "nats", "m .9 over u 1/20,000"),
    "birth_date_close": Prior(4.5, "nats", "judgement: one digit wrong, or day and month swapped"),
    "birth_date_disagree": Prior(-4.0, "nats", "1 - m = .02 over 1"),
    "postcode_agree": Prior(5.0, "nats", "m .8 over u 1/200 among the callers of one organisation"),
    "postcode_disagree": Prior(-1.0, "nats", "1 - m = .35 over 1: people move"),
    # What no identifier says.
    "nobody_pointed_at": Prior(-13.0, "nats", "one of about 500,000 people on file, before their claims are compared"),
    "confirmed": Prior(12.0, "nats", "judgement: an agent picked this person"),
    "unlisted_relative": Prior(0.1, "rate", "judgement: 1 in 11 calls out of a known household is by one not on file"),
}


def _version(table: dict[str, float]) -> str:
    """Named after the content, so that equal tables have equal versions everywhere."""
    content = msgspec.json.encode(sorted(table.items()))
    return f"prior-{hashlib.sha256(content).hexdigest()[:12]}"


class Weights(msgspec.Struct, frozen=True):
    """The values that a resolution uses, by name, and their version."""

    values: dict[str, float] = msgspec.field(default_factory=lambda: {name: row.value for name, row in TABLE.items()})
    version: str = ""

    def __post_init__(self) -> None:
        if self.values.keys() != TABLE.keys():
            raise ValueError(f"the table of priors has other names: {sorted(self.values.keys() ^ TABLE.keys())}")
        msgspec.structs.force_setattr(self, "version", _version(self.values))

    def __getitem__(self, name: str) -> float:
        return self.values[name]


DEFAULT: Final = Weights()
