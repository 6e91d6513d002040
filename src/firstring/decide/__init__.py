"""The way of a contact. Begin with `derive`.

`derive` is pure: contact, evidence, what was read, the models and the time give everything that is decided. `Decider`
puts one read before it and one commit behind it. So a stored decision can be derived again, and is (`rederive`,
`differences`).
"""

from firstring.decide.again import differences, rederive
from firstring.decide.decider import Decider, Ring, Stages, looked_up, profiles_of
from firstring.decide.deriving import Profiles, derive, who
from firstring.decide.models import JOINED, Models

__all__ = [
    "JOINED",
    "Decider",
    "Models",
    "Profiles",
    "Ring",
    "Stages",
    "derive",
    "differences",
    "looked_up",
    "profiles_of",
    "rederive",
    "who",
]
