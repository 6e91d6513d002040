"""Texts of actions with words in braces: checked when they are declared, filled in when they are used."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from firstring.nextbest.situation import REASON_WORD, WORDS

_WORD: Final = re.compile(r"\{([^{}]*)\}")


def unknown_words(text: str) -> list[str]:
    """The words in braces that no text can have, and braces that do not go together."""
    asked = [word for words in _WORD.findall(text) for word in words.split("|")]
    found = [word for word in asked if word not in WORDS and not _is_reason(word)]
    rest = _WORD.sub("", text)
    return found + [brace for brace in "{}" if brace in rest]


def filled(text: str, said: Mapping[str, str]) -> str:
    """The text with its words; of {one|other} the first that is not empty. What customers said stands in it as it is:
    braces in it are no words."""
    if "{" not in text:
        return text
    return _WORD.sub(lambda match: next((said[word] for word in match[1].split("|") if said.get(word)), ""), text)


def is_used(word: str, texts: Sequence[str]) -> bool:
    """Whether one of the texts has this word."""
    return any(word in words.split("|") for text in texts for words in _WORD.findall(text))


def _is_reason(word: str) -> bool:
    return word.startswith(REASON_WORD) and word[len(REASON_WORD) :].replace("_", "").isalnum()
