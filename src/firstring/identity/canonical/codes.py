"""Countries, languages, postcodes and short codes in their canonical forms."""

from __future__ import annotations

import re
import unicodedata
from typing import Final, NamedTuple

import phonenumbers

from firstring.identity.canonical import placeholders
from firstring.identity.canonical.text import Refused, fold

_NOT_ISO: Final = frozenset(("AC", "TA"))
COUNTRIES: Final = frozenset(phonenumbers.SUPPORTED_REGIONS) - _NOT_ISO | frozenset(
    ("AQ", "BV", "GS", "HM", "PN", "TF", "UM")
)
"""ISO 3166-1 alpha-2 (and XK): the regions of the numbering plan and the seven countries without one."""

_COUNTRY_NAMES: Final = {
    name: code
    for code, names in {
        "AR": "argentina arg", "AT": "austria osterreich aut", "AU": "australia aus", "BE": "belgium belgie belgique bel",
        "BR": "brazil brasil bra", "CA": "canada can", "CH": "switzerland schweiz suisse che", "CL": "chile chl",
        "CN": "china chn", "CZ": "czechia cze", "DE": "germany deutschland deu", "DK": "denmark danmark dnk",
        "ES": "spain espana esp", "FI": "finland suomi fin", "FR": "france fra",
        "GB": "uk england scotland wales gbr united_kingdom great_britain northern_ireland",
        "GR": "greece grc", "HU": "hungary hun", "IE": "ireland eire irl", "IN": "india ind", "IT": "italy italia ita",
        "JP": "japan jpn", "KR": "south_korea kor", "LU": "luxembourg lux", "MX": "mexico mex",
        "NL": "netherlands nederland holland the_netherlands nld", "NO": "norway norge nor", "NZ": "new_zealand nzl",
        "PL": "poland polska pol", "PT": "portugal prt", "RO": "romania rou", "SE": "sweden sverige swe",
        "SK": "slovakia svk", "TR": "turkey turkiye tur", "UA": "ukraine ukr",
        "US": "usa united_states united_states_of_america america", "ZA": "south_africa zaf",
    }.items()
    for name in names.replace(" ", ",").replace("_", " ").split(",")
}  # fmt: skip
_LANGUAGE_NAMES: Final = {
    name: code
    for code, names in {
        "ar": "arabic ara", "da": "danish dan", "de": "german deutsch deu ger", "en": "english eng",
        "es": "spanish espanol castellano spa", "fi": "finnish fin", "fr": "french francais fra fre",
        "gl": "galician galego glg", "it": "italian italiano ita", "ja": "japanese jpn", "nl": "dutch nederlands nld dut",
        "no": "norwegian nor", "pl": "polish polski pol", "pt": "portuguese portugues por", "ru": "russian rus",
        "sv": "swedish svenska swe", "tr": "turkish tur", "uk": "ukrainian ukr", "zh": "chinese zho chi",
    }.items()
    for name in names.split()
}  # fmt: skip
_LANGUAGE = re.compile(r"([a-z]{2,3})(?:[-_][a-z0-9]{1,8})*")
_GENDERS: Final = {"f": "female", "w": "female", "woman": "female", "m": "male", "man": "male", "u": "", "d": "other"}
_GB = re.compile(r"([A-Z]{1,2}\d[A-Z\d]?)(\d[A-Z]{2})")


class _Form(NamedTuple):
    """A country's postcodes: how many characters, whether digits alone, where they are divided and by what."""

    length: int
    digits: bool = True
    split: int = 0
    mark: str = ""


_FORMS: Final = {
    **dict.fromkeys(("DE", "FR", "ES", "IT", "MX", "FI", "EE", "HR", "TR", "UA", "KR", "MY", "TH", "ID"), _Form(5)),
    **dict.fromkeys(("RU", "CN", "RO", "SG", "VN", "KZ"), _Form(6)),
    **dict.fromkeys(("AT", "BE", "CH", "DK", "NO", "HU", "BG", "AU", "NZ", "LU", "ZA", "SI"), _Form(4)),
    **dict.fromkeys(("CZ", "SK", "SE", "GR"), _Form(5, split=3, mark=" ")),
    "NL": _Form(6, digits=False, split=4, mark=" "), "CA": _Form(6, digits=False, split=3, mark=" "),
    "JP": _Form(7, split=3, mark="-"), "BR": _Form(8, split=5, mark="-"), "IN": _Form(6, digits=False),
    "PL": _Form(5, split=2, mark="-"), "PT": _Form(7, split=4, mark="-"),
}  # fmt: skip
_POSTCODE = re.compile(r"[A-Z0-9][A-Z0-9 \-]{1,11}")


def country(text: str) -> str | Refused:
    """ISO 3166-1 alpha-2; the alpha-3 codes and names of common countries are understood."""
    upper = text.upper()
    if upper in COUNTRIES:
        return upper
    found = _COUNTRY_NAMES.get(fold(text))
    return found if found else Refused("unknown_country", "is no ISO 3166-1 alpha-2 code")


def language(text: str) -> str | Refused:
    """The primary subtag of BCP 47, lower-cased; names of common languages are understood."""
    lowered = text.lower()
    if found := _LANGUAGE_NAMES.get(fold(text)):
        return found
    match = _LANGUAGE.fullmatch(lowered)
    return match[1] if match else Refused("unknown_language", "is no BCP 47 tag")


def postcode(text: str, country_code: str) -> str | Refused:
    """Upper-cased; by the habit of the country: GB, CA and NL with their space, JP and BR with their dash, digits whole.

    A spreadsheet eats leading zeros: where a country's postcodes are digits alone, they are put back.
    """
    upper = " ".join((text if text.isascii() else unicodedata.normalize("NFKC", text)).upper().replace("〒", "").split())
    if not _POSTCODE.fullmatch(upper):
        return Refused("invalid_postcode", "is no postcode")
    bare = upper.replace(" ", "").replace("-", "")
    if len(set(bare)) == 1:
        return Refused("placeholder", "is a postcode that stands for 'none'")
    if country_code == "GB" and (match := _GB.fullmatch(bare)):
        return f"{match[1]} {match[2]}"
    if country_code == "US" and bare.isdigit():
        # 2134 is 02134 of New England; what follows the fifth digit is a delivery route, which changes.
        return bare[:5] if len(bare) in (5, 9) else bare.zfill(5) if len(bare) == 4 else upper
    form = _FORMS.get(country_code)
    if form is None:
        return upper
    bare = bare.removeprefix(country_code) if len(bare) > form.length else bare
    if form.digits and bare.isdigit() and len(bare) == form.length - 1:
        bare = bare.zfill(form.length)
    if len(bare) != form.length or (form.digits and not bare.isdigit()):
        return upper
    return f"{bare[: form.split]}{form.mark}{bare[form.split :]}" if form.split else bare


def postcode_key(canonical: str) -> str:
    """The form in which postcodes are compared: letters and digits alone."""
    return canonical.replace(" ", "").replace("-", "")


def code(text: str) -> str | Refused:
    """A short code of the source, lower-cased."""
    lowered = text.lower()
    return Refused("placeholder", "stands for 'not known'") if lowered in placeholders.WORDS else lowered


def gender(text: str) -> str | Refused:
    """female, male, other, or the source's own word."""
    lowered = text.lower()
    value = _GENDERS.get(lowered, lowered)
    return value if value and value not in placeholders.WORDS else Refused("placeholder", "stands for 'not known'")
