"""Names of persons: taken apart by the habits of their script and country, and brought to the forms that are compared."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from firstring.identity.canonical import nicknames, scripts
from firstring.identity.canonical.orders import families, family_first, patronymic_last
from firstring.identity.canonical.spellings import PARTICLES, family_key, given_key
from firstring.identity.canonical.text import CACHE_VALUES, fold

_TITLES: Final = frozenset(
    (
        "mr", "mrs", "ms", "miss", "mx", "dr", "prof", "professor", "sir", "dame", "rev", "hr", "frau", "herr", "mevr",
        "dhr", "mme", "mlle", "m", "sr", "sra", "srta", "don", "dona", "ing", "mag", "dipl", "sig", "sigra", "dott", "avv",
        "monsieur", "madame", "pan", "pani", "shri", "smt", "haji", "hajji", "sheikh", "fru", "senhor", "senhora",
    )
)  # fmt: skip
_SUFFIXES: Final = {
    "jr": "jr", "junior": "jr", "jnr": "jr", "sr": "sr", "senior": "sr", "snr": "sr",
    "ii": "ii", "2nd": "ii", "iii": "iii", "3rd": "iii", "iv": "iv", "4th": "iv",
    "filho": "jr", "neto": "iii", "hijo": "jr",
}  # fmt: skip
_NO_NAMES: Final = frozenset(("fnu", "lnu", "nfn", "nln"))
"""What passports and visas put where there is no name."""
_JOINED_GIVEN: Final = frozenset(("CN", "TW", "HK", "SG", "KR", "KP"))
"""Where a given name is two syllables, written apart, with a hyphen or as one word."""
_HONORIFICS: Final = ("先生", "女士", "小姐", "さん", "様", "氏", "씨", "님")


class PersonName(NamedTuple):
    """A name in the form in which names are compared (see `text.fold`); an unknown part is empty.

    given: the first given name; root: the key of its formal name (bob -> robert); whole: the whole name where it could
    not be taken apart (a name written without spaces), else empty. given_key, family_key: one for all spellings of a
    name (see `spellings`), never shown.
    """

    given: str = ""
    root: str = ""
    middle: str = ""
    family: str = ""
    suffix: str = ""
    whole: str = ""
    given_key: str = ""
    family_key: str = ""

    @property
    def key(self) -> str:
        """Root and family name as one text, for composite keys; empty when either is unknown or only an initial."""
        if len(self.root) > 1 and self.family_key:
            return f"{self.root}\x1f{self.family_key}"
        return self.whole


def name_of(fields: Mapping[str, Any]) -> PersonName:
    """The name stated by canonical fields; parts stated on their own win over what full_name says.

    The country says which of the words of a name are the family's, and in which order they stand.
    """
    get = fields.get
    return parse(
        get("full_name") or "",
        get("given_name") or "",
        get("middle_name") or "",
        get("family_name") or "",
        get("suffix") or "",
        get("country") or "",
    )


@lru_cache(maxsize=CACHE_VALUES)
def parse(full: str, given: str, middle: str, family: str, suffix: str, country: str = "") -> PersonName:
    """Compare form of a name given in parts, whole, or both. country: ISO 3166-1 alpha-2, or empty where unknown."""
    whole = ""
    latin = full.isascii() and given.isascii() and family.isascii()
    country = country if latin else _country(full + given + family, country)
    folded_given, folded_middle = _folded_given(given, country), fold(middle)
    folded_family, family_suffix = _cut_suffix(_folded_family(family, country).split())
    folded_given, folded_family = _a_name(folded_given), _a_name(folded_family)
    stated = fold(suffix)
    folded_suffix = _SUFFIXES.get(stated, stated) or family_suffix
    if full and not (folded_given and folded_family):
        split = _split_full(full, country)
        folded_given, folded_family = folded_given or _a_name(split.given), folded_family or _a_name(split.family)
        folded_middle, folded_suffix = folded_middle or split.middle, folded_suffix or split.suffix
        whole = split.whole
    first, _, rest = folded_given.partition(" ")
    if rest and country in _JOINED_GIVEN and len(rest) < 8:
        first, rest = first + rest.replace(" ", ""), ""
    if rest and not folded_middle:
        folded_middle = rest
    if first and folded_family:
        whole = ""
    root = nicknames.root(first) if first else ""
    spelled = given_key(first, country) if first else ""
    if country in ("KR", "KP", "JP") and root == first:
        root = spelled
    stem = family_key(folded_family, country) if folded_family else ""
    return PersonName(first, root, folded_middle, folded_family, folded_suffix, whole, spelled, stem)


def _a_name(folded: str) -> str:
    return "" if folded in _NO_NAMES else folded


def _country(text: str, country: str) -> str:
    """The country whose habits a name in another script follows; the script says more than where somebody lives."""
    if scripts.HANGUL.search(text):
        return "KR"
    if scripts.KANA.search(text):
        return "JP"
    if scripts.HAN.search(text):
        return country if country in ("CN", "TW", "HK", "SG", "JP", "KR") else ""
    if any("\u0370" <= char <= "\u03ff" for char in text):
        return "GR"
    return country or ("CZ" if "ová" in text.casefold() else "")


def _folded_given(given: str, country: str) -> str:
    if given.isascii() or country not in ("", "JP"):
        return fold(given)
    return scripts.JAPANESE_GIVEN.get(given) or fold(given)


def _folded_family(family: str, country: str) -> str:
    if family.isascii() or not scripts.EAST_ASIAN.match(family):
        return fold(family)
    return _east_asian_family(family, country) or fold(family)


def _east_asian_family(text: str, country: str) -> str:
    """The reading of a whole text as a family name, or nothing."""
    if country in ("", "JP") and (found := scripts.JAPANESE_FAMILIES.get(text)):
        return found
    if country == "KR" and (found := scripts.KOREAN_FAMILIES.get(text)):
        return found
    return "" if country == "JP" else scripts.CHINESE_FAMILIES.get(text, "")


def _cut_suffix(words: list[str]) -> tuple[str, str]:
    """A folded family name and the suffix at its end; a single word is never taken for a suffix."""
    if len(words) > 1 and words[-1] in _SUFFIXES:
        return " ".join(words[:-1]), _SUFFIXES[words[-1]]
    return " ".join(words), ""


def _split_full(full: str, country: str) -> PersonName:
    """'Given Middle Family Jr', 'Family, Given', 'Jan van der Berg'; by country and script in another order."""
    if scripts.EAST_ASIAN.search(full) and (split := _split_east_asian(full, country)) is not None:
        return split
    if not full.isascii():
        full = full.replace("Ó ", "O")
    if country in _JOINED_GIVEN:
        full = full.replace("-", "")
    before, comma, after = full.partition(",")
    words, given_part = fold(before).split(), fold(after).split()
    if comma and words and given_part and given_part[0] not in _SUFFIXES:
        return _comma(words, given_part)
    words += given_part
    while len(words) > 2 and words[0] in _TITLES:
        words.pop(0)
    titled = len(words) == 2 and words[0] in _TITLES
    suffix = ""
    if len(words) > 2 and words[-1] in _SUFFIXES:
        suffix = _SUFFIXES[words.pop()]
    words = [word for word in words if word not in _NO_NAMES] or words
    if not words:
        return PersonName()
    if len(words) == 1:
        spaced = full.isascii() or not scripts.EAST_ASIAN.search(full)
        return PersonName(given=words[0]) if spaced or len(words[0]) == 1 else PersonName(whole=words[0])
    if titled:
        return PersonName(family=words[1])
    if patronymic_last(words, country):
        return PersonName(words[1], "", words[2], words[0], suffix)
    if family_first(words, country):
        return _family_first(words, country, suffix)
    return _given_first(words, country, suffix)


def _comma(words: list[str], given_part: list[str]) -> PersonName:
    family, suffix = _cut_suffix(words)
    given_words = [word for word in given_part if word not in _TITLES or word == given_part[-1]]
    if len(given_words) > 1 and given_words[-1] in _SUFFIXES:
        suffix = _SUFFIXES[given_words.pop()]
    return PersonName(given_words[0], "", " ".join(given_words[1:]), family, suffix)


def _given_first(words: list[str], country: str, suffix: str) -> PersonName:
    start = len(words) - families(words, country)
    while start > 1 and (words[start - 1] in PARTICLES or words[start - 1] in ("mc", "mac")):
        start -= 1
    given, middle = words[0], words[1:start]
    if country in _JOINED_GIVEN and sum(map(len, middle)) < 8:
        given, middle = given + "".join(middle), []
    return PersonName(given, "", " ".join(middle), " ".join(words[start:]), suffix)


def _family_first(words: list[str], country: str, suffix: str) -> PersonName:
    if country == "VN":  # the last word is what somebody is called by
        return PersonName(words[-1], "", " ".join(words[1:-1]), words[0], suffix)
    if country in _JOINED_GIVEN:
        return PersonName("".join(words[1:]), "", "", words[0], suffix)
    return PersonName(words[1], "", " ".join(words[2:]), words[0], suffix)


def _split_east_asian(full: str, country: str) -> PersonName | None:
    """Chinese, Japanese and Korean names: the family's first, written together or apart. None: as any other name."""
    text = full.replace("\u3000", " ").strip()
    for honorific in _HONORIFICS:
        if len(text) > len(honorific) + 1:
            text = text.removesuffix(honorific).strip()
    words = text.split()
    if "・" in text or "," in text or len(words) > 2:
        return None
    if len(words) == 2:
        given = _folded_given(words[1], country)
        return PersonName(given.replace(" ", ""), "", "", _folded_family(words[0], country))
    if not scripts.EAST_ASIAN.match(text) or len(text) > 6:
        return None
    for length in (3, 2, 1):
        family, rest = text[:length], text[length:]
        if rest and (read := _east_asian_family(family, country)):
            return PersonName(_folded_given(rest, country), "", "", read)
    # A Chinese or Korean family name has one character; a Japanese one cannot be told without a dictionary.
    if country == "JP" or len(text) < 2 or len(text) > 4 or scripts.KANA.search(text):
        return PersonName(whole=fold(text)) if len(text) > 1 else None
    return PersonName(fold(text[1:]), "", "", fold(text[0]))
