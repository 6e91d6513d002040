"""Street addresses brought to the form in which they are compared: number, street, unit, whatever their order. Pure.

Not an address parser: it knows the words for street types, units and post boxes, and where countries put the number. What
it does not know stays as it is, so the same address written the same way is always the same.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from firstring.identity.canonical.text import CACHE_VALUES, fold


def _read(table: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in table.split("\n"):
        for word in line.split():
            found.setdefault(word, line.split()[0])
    return found


_TYPES: Final = _read("""
street str st strasse
avenue ave aven avn avenida avda av avd
boulevard blvd boul bd bvd bld boulv bulevar
road rd
drive dr drv
lane ln
court ct crt
place pl
square sq
terrace ter terr tce
crescent cres cr crescen
close cl
parkway pkwy pky
highway hwy hiway
circle cir
trail trl
way wy
gardens gdns
grove gr grv
mount mt
saint sankt sint
calle c cl
plaza pza plz pzza
paseo ps po pso
carretera ctra carr
camino cno cmno
travesia trv
ronda rda
rue r
allee all
chemin ch che
impasse imp
place pl
route rte
quai q
faubourg fbg fg
via v
viale vle
piazza pza pzza
corso cso
vicolo vic
largo lgo
strada
rua r
travessa tv trav
praca pca
alameda al
estrada est
rodovia rod
ulica ul ulitsa
aleja al aleje
plac pl
osiedle os osiedla
prospekt pr prosp prospect
pereulok per
naberezhnaya nab
bulvar bul
vulytsia vul
odos od
leoforos leof
cadde cad caddesi cd
sokak sk sok sokagi
mahalle mah mahallesi
north n
south s
east e
west w
northeast ne
northwest nw
southeast se
southwest sw
""")
"""An abbreviation that several languages share is read as the first line that has it, but for these countries:"""
_OWN_TYPES: Final = {
    "ES": {"cl": "calle", "pl": "plaza"}, "MX": {"cl": "calle", "pl": "plaza"}, "CO": {"cl": "calle", "cr": "carrera"},
    "IT": {"pza": "piazza", "pl": "piazzale", "c": "corso"}, "PT": {"r": "rua"}, "BR": {"r": "rua", "al": "alameda"},
    "PL": {"al": "aleja", "pl": "plac"}, "NL": {"str": "straat"}, "BE": {"str": "straat"}, "RO": {"str": "strada"},
}  # fmt: skip
_NONE: Final[dict[str, str]] = {}
_UNITS: Final = frozenset(
    (
        "apt", "apartment", "unit", "flat", "suite", "ste", "room", "rm", "floor", "fl", "appt", "appartement", "app", "bte",
        "bus", "top", "whg", "wohnung", "int", "interno", "scala", "piso", "puerta", "pta", "depto", "dpto", "departamento",
        "apto", "apartamento", "bloco", "andar", "m", "mieszkanie", "lok", "kv", "kvartira", "lgh", "etg", "daire", "no",
    )
)  # fmt: skip
_BOXES = re.compile(
    r"\b(?:p o box|po box|pobox|post office box|postfach|postbus|postboks|box|apartado(?: de correos)?|apdo(?: de correos)?"
    r"|casella postale|caixa postal|boite postale|bp|skr(?:ytka)? poczt(?:owa)?|gpo box|private bag) ([a-z]?\d[\d ]*)\b"
)
_GERMANIC = re.compile(r"(?<=[a-z]{3})(strasse|str|gasse|weg|platz|allee|straat|laan|gracht|plein|gatan|vagen|vej|veien)$")
_NUMBER = re.compile(r"\d+[a-z]{0,2}")
_CALLE = re.compile(r"\bc/\s*", re.IGNORECASE)
_DIVIDED = re.compile(r"(?<=\d)\s*/\s*(?=\w)|(?<=\d)-(?=\d)")
_STOREY = re.compile(r"(\d+)\s*[ºª]\s*(\w{0,4})")
_LEADING: Final = frozenset(("US", "CA", "GB", "IE", "AU", "NZ", "FR", "LU", "IN", "ZA", "SG", "PH", "MY", "NG", "KE", "IL"))
"""Countries that put the house number first."""
_DIRECTIONS: Final = frozenset("nsew")
_ADDITIONS: Final = frozenset(("a", "b", "c", "d", "bis", "ter"))


@lru_cache(maxsize=CACHE_VALUES)
def street_key(street: str, country: str = "") -> str:
    """A street's name in compare form: 'Main Street' and 'Main St', 'Hauptstr.' and 'Hauptstraße', 'C/ Mayor'."""
    return " ".join(_street_words(_words(street), country))


def address_key(street: str, number: str, address: str, country: str = "") -> str:
    """An address in compare form: 'NUMBER STREET uUNIT', or 'box NUMBER'; "" where there is none.

    street and number as their fields hold them; address: a whole line, used where there is no street. A unit begins with
    u, so that it is never taken for a house number.
    """
    if street and number:
        house, unit = _house(number)
        name = street_key(street, country)
        if name and house:
            return f"{house} {name} u{unit}" if unit else f"{house} {name}"
    return _line(street or address, country)


@lru_cache(maxsize=CACHE_VALUES)
def _line(line: str, country: str) -> str:
    folded = fold(line)
    if not folded:
        return ""
    if box := _BOXES.search(folded):
        return f"box {box[1].replace(' ', '')}"
    words, unit = _without_unit(_words(line))
    number = _taken_number(words, country)
    if number:
        number, divided = _house(number)
        unit = unit or divided
    parts = [number, " ".join(_street_words(words, country)), f"u{unit}" if unit else ""]
    return " ".join(part for part in parts if part)


def _words(line: str) -> list[str]:
    """Folded words; # stands for a unit, / and - between digits keep number and unit apart."""
    text = re.sub(r"#\s*", " unit ", line) if "#" in line else line
    if "/" in text or "-" in text:
        text = _CALLE.sub("calle ", text)
        text = _DIVIDED.sub("slash", text)
    if "º" in text or "ª" in text:
        text = _STOREY.sub(r" unit \1\2 ", text)
    return fold(text).split()


def _house(number: str) -> tuple[str, str]:
    """A house number and the unit behind a slash: '12/5' -> 12, 5; '12 A' -> 12a."""
    if number.isascii() and number.isdigit():
        return number, ""
    text = number.replace("slash", "/")
    house, _, unit = text.partition("/")
    joined = fold(house).replace(" ", "")
    return joined, fold(unit).replace(" ", "")


def _without_unit(words: list[str]) -> tuple[list[str], str]:
    for place in range(len(words) - 1):
        word, after = words[place], words[place + 1]
        if (
            word in _UNITS
            and (after[:1].isdigit() or len(after) < 3)
            and (word not in ("m", "no", "top", "int") or place > 1)
        ):
            if word == "no":  # number, not unit
                return words[:place] + words[place + 1 :], ""
            return words[:place] + words[place + 2 :], after
    return words, ""


def _taken_number(words: list[str], country: str) -> str:
    """Takes the house number out of the words: at the start or at the end, by the country's habit, else where one is."""
    if len(words) < 2:
        return ""
    first, last = bool(_NUMBER.match(words[0])), len(words) - 1
    while last > 0 and len(words[last]) == 1 and not words[last].isdigit():
        last -= 1
    at_end = last > 0 and bool(_NUMBER.fullmatch(words[last].partition("slash")[0]))
    if first and (country in _LEADING or not at_end or country == ""):
        number = words.pop(0)
        if words[1:] and words[0] in _ADDITIONS:
            number += words.pop(0)
        return number
    if at_end:
        number = "".join(words[last:])
        del words[last:]
        return number
    return ""


def _street_words(words: list[str], country: str) -> list[str]:
    if not words:
        return words
    own = _OWN_TYPES.get(country, _NONE)
    found: list[str] = []
    last = len(words) - 1
    for place, word in enumerate(words):
        if word == "st" and place < last and not found:
            found.append("saint")
        elif last and (word in own or word in _TYPES) and (place in (0, last) or len(word) > 2 or word in _DIRECTIONS):
            found.append(own.get(word) or _TYPES[word])
        elif match := _GERMANIC.search(word):
            kind = match[1]
            one = "street" if kind in ("strasse", "str") else kind
            found += [word[: -len(kind)], own.get(kind, one)]
        else:
            found.append(word)
    return found
