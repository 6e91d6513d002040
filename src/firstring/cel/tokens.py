"""The words of an expression: names, literals, signs (cel-spec, langdef.md, "Syntax")."""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple

from firstring.cel.syntax import wrong
from firstring.cel.values import Uint

Kind = Literal["name", "constant", "sign", "end"]

_SIGNS: Final = ("==", "!=", "<=", ">=", "&&", "||", *"+-*/%<>!?:.,()[]{}")
_WORDS: Final[dict[str, Any]] = {"true": True, "false": False, "null": None}
_RESERVED: Final = frozenset(
    ("as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package", "namespace",
     "return", "var", "void", "while")
)  # fmt: skip
_ESCAPES: Final = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\", "?": "?", '"': '"', "'": "'", "`": "`",
}  # fmt: skip
_ALONE: Final = {
    "=": "Compare with ==.",
    "&": "Write && for and.",
    "|": "Write || for or.",
    "`": "Write x['a b'] for a name with spaces.",
}
_DIGITS: Final = frozenset("0123456789")
_HEX: Final = frozenset("0123456789abcdefABCDEF")
_SPACE: Final = frozenset(" \t\n\f\r")


class Token(NamedTuple):
    """A word and where it begins. value: of a constant."""

    kind: Kind
    text: str
    at: int
    value: Any = None


def tokens(source: str) -> list[Token]:
    """All words, the last of them "end". Raises BadInput expression_invalid."""
    found: list[Token] = []
    at, end = 0, len(source)
    while at < end:
        character = source[at]
        if character in _SPACE:
            at += 1
        elif source.startswith("//", at):
            newline = source.find("\n", at)
            at = end if newline < 0 else newline
        else:
            token, at = _token(source, at)
            found.append(token)
    found.append(Token("end", "the end", end))
    return found


def _token(source: str, at: int) -> tuple[Token, int]:
    character = source[at]
    following = source[at + 1 : at + 2]
    if character in _DIGITS or (character == "." and following in _DIGITS and following):
        return _number(source, at)
    if character in "\"'":
        return _text(source, at, at)
    if character.isascii() and (character.isalpha() or character == "_"):
        return _word(source, at)
    for sign in _SIGNS:
        if source.startswith(sign, at):
            return Token("sign", sign, at), at + len(sign)
    raise wrong(source, at, f"{character!r} has no meaning here.", _ALONE.get(character, "Remove it, or quote the text."))


def _word(source: str, at: int) -> tuple[Token, int]:
    end = at
    while end < len(source) and source[end].isascii() and (source[end].isalnum() or source[end] == "_"):
        end += 1
    word = source[at:end]
    if source[end : end + 1] in ("'", '"') and word.lower() in ("r", "b", "rb", "br"):
        return _text(source, at, end)
    if word in _WORDS:
        return Token("constant", word, at, _WORDS[word]), end
    if word == "in":
        return Token("sign", "in", at), end
    if word in ("and", "or", "not"):
        raise wrong(source, at, f"{word} is not a word of the language.", "Write && for and, || for or, ! for not.")
    return Token("name", word, at), end


def is_reserved(word: str) -> bool:
    """Whether a word may not be the name of a variable (it may be that of a field)."""
    return word in _RESERVED


# --- numbers -----------------------------------------------------------------------------------------------------


def _number(source: str, at: int) -> tuple[Token, int]:
    end = at
    if source[at : at + 2] == "0x" and source[at + 2 : at + 3] in _HEX and source[at + 2 : at + 3]:
        end = _run(source, at + 2, _HEX)
        return _whole(source, at, end, int(source[at + 2 : end], 16))
    end = _run(source, at, _DIGITS)
    is_double = False
    if source[end : end + 1] == "." and source[end + 1 : end + 2] in _DIGITS and source[end + 1 : end + 2]:
        end, is_double = _run(source, end + 1, _DIGITS), True
    if source[end : end + 1] in ("e", "E"):
        digits = end + 1 + (source[end + 1 : end + 2] in ("+", "-"))
        stop = _run(source, digits, _DIGITS)
        if stop > digits:
            end, is_double = stop, True
    if is_double:
        token = Token("constant", source[at:end], at, float(source[at:end]))
        _ends(source, end)
        return token, end
    if end - at > 30:
        raise wrong(source, at, "The number has too many digits.", "Write a whole number of 64 bits, or 1.0e30.")
    return _whole(source, at, end, int(source[at:end]))


def _whole(source: str, at: int, end: int, value: int) -> tuple[Token, int]:
    """A whole number. 2^63 is let through: with a minus before it, it is one of 64 bits."""
    if source[end : end + 1] in ("u", "U"):
        if value >= 1 << 64:
            raise wrong(source, at, "The number does not fit in 64 bits.", "Write a smaller one.")
        _ends(source, end + 1)
        return Token("constant", source[at : end + 1], at, Uint(value)), end + 1
    if value > 1 << 63:
        raise wrong(source, at, "The number does not fit in 64 bits.", "Write a smaller one, or one with a point: 1.0e30.")
    _ends(source, end)
    return Token("constant", source[at:end], at, value), end


def _ends(source: str, end: int) -> None:
    if end < len(source) and (source[end].isalnum() or source[end] == "_"):
        raise wrong(source, end, "A number runs into a word.", "Write numbers as 1000, 0x3e8, 1.5 or 1e3; no underscores.")


def _run(source: str, at: int, of: frozenset[str]) -> int:
    while at < len(source) and source[at] in of:
        at += 1
    return at


# --- text --------------------------------------------------------------------------------------------------------


def _text(source: str, at: int, quote_at: int) -> tuple[Token, int]:
    """A literal of text or bytes whose prefix (r, b) begins at `at` and whose quotation mark stands at `quote_at`."""
    prefix = source[at:quote_at].lower()
    quote = source[quote_at]
    if source.startswith(quote * 3, quote_at):
        quote *= 3
    raw, as_bytes = "r" in prefix, "b" in prefix
    position = quote_at + len(quote)
    parts: list[str | bytes] = []
    while not source.startswith(quote, position):
        if position >= len(source) or (len(quote) == 1 and source[position] in "\r\n"):
            raise wrong(source, at, "The text is not closed.", f"End it with {quote}.")
        if source[position] == "\\" and not raw:
            part, position = _escaped(source, position, as_bytes)
            parts.append(part)
        else:
            parts.append(source[position])
            position += 1
    end = position + len(quote)
    if as_bytes:
        content = b"".join(part if isinstance(part, bytes) else part.encode() for part in parts)
        return Token("constant", source[at:end], at, content), end
    return Token("constant", source[at:end], at, "".join(map(str, parts))), end


def _escaped(source: str, at: int, as_bytes: bool) -> tuple[str | bytes, int]:
    """(character, where it ends) of the escape at `at`: as in C, \\x and \\ooo being bytes in bytes."""
    letter = source[at + 1 : at + 2]
    if letter in _ESCAPES and letter:
        return _ESCAPES[letter], at + 2
    sizes = {"x": 2, "X": 2, "u": 4, "U": 8}
    octal = bool(letter) and letter in "0123"
    begin = at + 1 if octal else at + 2
    size = 3 if octal else sizes.get(letter, 0)
    digits = source[begin : begin + size]
    allowed = frozenset("01234567") if octal else _HEX
    is_unicode = letter in ("u", "U") and bool(letter)
    if not size or len(digits) < size or not allowed.issuperset(digits) or (as_bytes and is_unicode):
        hint = "Write \\\\ for a backslash, or r'...' for text without escapes."
        raise wrong(source, at, f"\\{letter} is not an escape that is known here.", hint)
    code = int(digits, 8 if octal else 16)
    if as_bytes:
        return bytes((code,)), begin + size
    if 0xD800 <= code < 0xE000 or code > 0x10FFFF:
        raise wrong(source, at, f"\\{letter}{digits} is no character.", "Write one of Unicode's.")
    return chr(code), begin + size
