"""Values that people and programs enter when they know none. They are dropped: they would glue strangers together."""

from __future__ import annotations

import re
from typing import Final

NAME_WORDS: Final = frozenset(
    (
        "unknown", "unk", "n/a", "#n/a", "none", "-", "--", "---", ".", "..", "...", "?", "??", "???", "x", "xx", "xxx",
        "tbd", "tba", "not available", "not applicable", "not provided", "not given", "no name", "noname", "undefined",
        "missing", "empty", "(null)", "(none)", "<null>", "anonymous", "unavailable", "restricted", "withheld",
        "unbekannt", "inconnu", "desconocido", "onbekend", "test test", "asdf", "qwerty",
    )
)  # fmt: skip
"""Placeholders in a name. Null, Na, Nan, Test and Private are real names, so they are not among them."""

WORDS: Final = NAME_WORDS | {"null", "nil", "na", "nan", "nat", "test", "private", "0", "no", "false"}
"""Placeholders in any other field, compared in lower case."""

BIRTH_DATES: Final = frozenset(
    ("0001-01-01", "1111-11-11", "1753-01-01", "1899-12-30", "1899-12-31", "1900-01-01", "1901-01-01", "1970-01-01",
     "9999-12-31")
)  # fmt: skip
"""The zero of a database, a spreadsheet or a clock, and what impatient people type."""

_EMAIL_NOBODY = re.compile(
    r"(no[._-]?e?-?mail|none|n[./]?a|null|nil|nobody|no[._-]?one|unknown|undefined|not[._-]?(provided|available|given)"
    r"|(do[._-]?)?no[t]?[._-]?reply|dummy|fake|invalid|anonymous|declined|refused|x{2,})\d*"
)
_EMAIL_TEST = re.compile(r"(test(ing)?|tester|example|sample|user|me|you|name|e?mail|abc|asdf|qwerty|a+|x+|customer)\d{0,4}")
"""With no more digits than people type behind them: a longer number was given to one person, and glues nobody."""
_EMAIL_TEST_DOMAIN = re.compile(r"((example|test|domain|email|nomail|noemail|none|sample|asdf)\.[a-z.]+|[a-z.]*invalid)")
_EMAIL_NOBODY_DOMAIN = re.compile(r"(no-?e?-?mail|none|noaddress|notprovided|unknown)\.[a-z.]+")


def is_phone(digits: str) -> bool:
    """Whether the national digits are a placeholder: one digit repeated, or counted up or down."""
    if len(digits) < 5:
        return False
    significant = digits.lstrip("0")
    if len(significant) < 2 or len(set(significant)) == 1:
        return True
    return digits in "01234567890123456789" or digits in "98765432109876543210"


def is_email(local: str, domain: str) -> bool:
    """Whether a lower-cased address names nobody: noemail@, none@, test@example.com, anything@noemail.com."""
    if _EMAIL_NOBODY.fullmatch(local) or _EMAIL_NOBODY_DOMAIN.fullmatch(domain):
        return True
    return bool(_EMAIL_TEST.fullmatch(local) and _EMAIL_TEST_DOMAIN.fullmatch(domain))


def is_number(value: str) -> bool:
    """Whether an account or id number is a placeholder: one character repeated, or digits counted up or down."""
    if len(set(value)) == 1:
        return True
    return len(value) >= 6 and (value in "01234567890123456789" or value in "98765432109876543210")
