"""Firstring knows who is calling before the first ring ends, says how sure it is, and hands them to the right agent.

The public names below are loaded when they are first used: `import firstring` loads nothing else.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from firstring.contact import (
        AgentProfile,
        Assurance,
        Candidate,
        Contact,
        Decision,
        Derived,
        Evidence,
        Identifier,
        Journey,
        NextAction,
        Read,
        Reason,
        Resolution,
        Routing,
    )
    from firstring.decide import Models, derive, differences, rederive
    from firstring.errors import BadInput, Retryable, Unrecoverable
    from firstring.identity.caller.evidence import gather
    from firstring.identity.caller.resolver import resolve
    from firstring.settings import Settings

__all__ = [
    "AgentProfile",
    "Assurance",
    "BadInput",
    "Candidate",
    "Contact",
    "Decision",
    "Derived",
    "Evidence",
    "Identifier",
    "Journey",
    "Models",
    "NextAction",
    "Read",
    "Reason",
    "Resolution",
    "Retryable",
    "Routing",
    "Settings",
    "Unrecoverable",
    "__version__",
    "derive",
    "differences",
    "gather",
    "rederive",
    "resolve",
]

_HOMES = {
    "firstring.decide": ("Models", "derive", "differences", "rederive"),
    "firstring.errors": ("BadInput", "Retryable", "Unrecoverable"),
    "firstring.identity.caller.evidence": ("gather",),
    "firstring.identity.caller.resolver": ("resolve",),
    "firstring.settings": ("Settings",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF.get(name, "firstring.contact")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
