"""Spellings of one name made one: the keys under which given and family names are compared. Pure.

A key is for comparing and never shown. It is the folded name where nothing is known of its other spellings.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from firstring.identity.canonical.scripts import long_vowels
from firstring.identity.canonical.text import CACHE_VALUES

PARTICLES: Final = frozenset(
    (
        "van", "von", "vom", "de", "der", "den", "del", "della", "dello", "dei", "degli", "di", "da", "das", "do", "dos",
        "du", "des", "la", "las", "le", "les", "lo", "los", "ten", "ter", "te", "t", "zu", "zum", "zur", "af", "av", "al",
        "el", "bin", "ibn", "bint", "ben", "abu", "y", "e", "i", "und", "vander", "vanden", "vande",
    )
)  # fmt: skip
_JOINED: Final = frozenset(("o", "mc", "mac", "d", "fitz"))
"""Beginnings written apart or together: O Brien, O'Brien; Mc Donald, McDonald."""
_GREEK: Final = frozenset(("GR", "CY"))
_CZECH: Final = frozenset(("CZ", "SK"))
_UMLAUT = re.compile(
    r"(?<=[bcdfhjklmnprstvwxz])([aou])e(?=[bcdfghjkmnprstvwxz]|l.)|(?:(?<=g)|^)([ao])e(?=[bcdfghjkmnprstvwxz])"
)
"""ae, oe, ue for an umlaut, not in samuel, michael, miguel, enrique. Folding makes one letter of the umlaut itself."""
_FAMILY_UMLAUT = re.compile(r"(?<![aeioqug])([aou])e(?=[bcdfghjklmnprstvwxz])")

_VARIANTS: Final = """
mohammed muhammad mohamed mohammad muhammed mohamad muhamad mohd mhmd mohamet mahomed mukhammad mohammd
ahmed ahmad ahmet achmed akhmed
mahmoud mahmud mahmood makhmud
abdullah abdallah abdulla abdalla
abdulrahman abdelrahman abdurrahman abdurahman abdulrehman
hussein husain hussain husein hossein hussien huseyin khusein
hassan hasan khasan
yusuf youssef yousef yousuf yusef youssouf yosef yousof
yusra yousra
ibrahim ebrahim brahim ibraheem
ismail ismael esmail ismaeel
omar umar omer
othman osman usman uthman
khaled khalid
said saeed saied sayed
mustafa mostafa mustapha moustafa
karim kareem
jamal gamal djamal jamaal
tariq tarek tarik tareq
rashid rachid rasheed
yasin yassin yaseen yassine
yasser yasir yaser
salim saleem
salem salim
samir sameer
walid waleed oualid
faisal faysal feisal
fatima fatma fatimah fateme fatimeh
aisha aicha ayesha aishah aysha
khadija khadijah hadija khadeeja
maryam mariam meryem
zainab zaynab zeinab zineb zeynep
layla leila laila leyla
yasmin yasmine yasmeen
jasmin jasmine
nur noor nour
amina aminah ameena
sergei sergey serguei sergej serhiy serhii serge
aleksei aleksey alexei alexey aleksej alexej oleksiy
andrei andrey andrej andrii andriy
dmitri dmitry dmitriy dmitrii dmitrij dimitri dmytro
yuri yuriy iurii yury jurij juri yurii
vasili vasiliy vasily vasilii vasyl
evgeni evgeny evgeniy evgenii yevgeny yevgeni yevgeniy yevhen jevgenij
grigori grigory grigoriy grigorii hryhoriy
anatoli anatoly anatoliy anatolii
vitali vitaly vitaliy vitalii
valeri valery valeriy valerii
arkadi arkady arkadiy arkadii
gennadi gennady gennadiy gennadii
nikolai nikolay nikolaj nikolaos mykola
mikhail michail mihail mykhailo mikhailo
alexander aleksandr aleksander alexandr oleksandr alexandre alexandros
alexandra aleksandra oleksandra
petr pyotr petro piotr
fyodor fedor feodor fyodr
ilya ilia ilja illia
natalia natalya nataliya natalija nataliia
tatiana tatyana tatjana tetiana tetyana
julia yulia yuliya iuliia julija yuliia yulija
anastasia anastasiya anastasija anastasiia
maria mariya marija mariia
sofia sofiya sofya sofija sofiia
ksenia kseniya xenia kseniia
evgenia evgeniya yevgenia yevheniia
olga olha
elena yelena olena
ekaterina yekaterina jekaterina kateryna katerina
dariya daria darya darja dariia
victor viktor wiktor
victoria viktoria viktoriya viktoriia viktorija
vladimir wladimir volodymyr wlodzimierz
lyudmila ludmila liudmila lyudmyla
lyubov liubov lubov
georgios giorgos yorgos giorgios
ioannis yiannis giannis yannis ioannes
dimitrios dimitris demetrios dimitri
konstantinos constantinos konstantin constantin constantine
christos hristos
vasileios vasilios vassilis vasilis vassilios
panagiotis panayiotis panajotis
athanasios thanasis
eleni helene
aikaterini ekaterini
evangelos vangelis
david davide dawud daud dawid
moshe moshé mosheh
yaakov yakov jakov jaakov yaacov yakob
yitzhak itzhak yitzchak izhak yitshak itzchak
avraham avrohom
shmuel shmuhl
shlomo shelomo
chaim haim hayim
eliyahu eliahu
yehuda jehuda
rivka rivkah
hannah chana hanna hana
lakshmi laxmi lakshmy laksmi
krishna krisna krushna krsna
shiva siva
vijay bijay wijay
vikram bikram
deepak dipak
sandeep sandip
rajeev rajiv
sanjeev sanjiv
pradeep pradip
sunil suneel
anil aneel
vishnu visnu
ganesh ganes
suresh sures
ramesh rames
priya pria
sunita suneeta
geeta gita geetha githa
neeta nita
seema sima
jurgen yurgen
jorg yorg
gunter gunther
klaus claus
kristof christof christoph kristoph
rafael raphael rafail
"""


def _read(table: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in table.split("\n"):
        for name in line.split():
            found.setdefault(name, line.split()[0])
    return found


_SPELLED: Final = _read(_VARIANTS)
_FAMILY_VARIANTS: Final = _read(
    """
mohammed muhammad mohamed mohammad mohamad muhammed
ahmed ahmad
hussein husain hussain hossain
hassan hasan
khan kahn
cohen kohen cohn koen
levi levy lewi
schwartz schwarz schwarcz szwarc
patel patell
singh sing
choudhury chowdhury chaudhary choudhary chaudhry chaudhuri
mukherjee mukharji mukerji mukherji
banerjee banerji
chatterjee chatterji
iyer aiyar ayyar
reddy reddi
shah sah
gonzalez gonzales
lopez lopes
perez peres
rodriguez rodrigues
martinez martines
fernandez fernandes
gomez gomes
sanchez sanches
hernandez hernandes
sousa souza
ferreira ferreyra
"""
)
_KOREAN_VARIANTS: Final = _read(
    """
kim gim
lee yi rhee ri i
park pak bak
choi choe
jung jeong chung chong
kang gang
cho jo
yoon yun
jang chang
lim im rim
seo suh so
shin sin
kwon gwon
ahn an
ryu yoo yu ryoo
jeon chun jun
ko go koh
moon mun
noh no roh
baek paik paek
oh o
"""
)


@lru_cache(maxsize=CACHE_VALUES)
def given_key(given: str, country: str = "") -> str:
    """The key of a folded given name: sergey, sergei and serguei are one, as are juergen and jurgen."""
    if found := _SPELLED.get(given):
        return found
    if country in ("KR", "KP"):
        given = korean(given)
    elif country == "JP":
        given = long_vowels(given)
    reduced = _UMLAUT.sub(lambda match: match[1] or match[2], given)
    while len(reduced) > 3 and reduced.endswith(("iy", "ij", "ii", "yi")):
        reduced = reduced[:-2] + "i"
    return _SPELLED.get(reduced, reduced)


def korean(given: str) -> str:
    """Romanisations of a Korean given name made one: cheolsu, chul soo, chulsu."""
    word = given.replace(" ", "")
    for written, key in (("eo", "u"), ("oo", "u"), ("ou", "u"), ("ee", "i"), ("ae", "e"), ("ui", "i")):
        word = word.replace(written, key)
    return word


@lru_cache(maxsize=CACHE_VALUES)
def family_key(family: str, country: str = "") -> str:
    """The key of a folded family name: without particles, one form for woman and man, umlauts as one letter."""
    words = family.split()
    kept: list[str] = []
    joined = ""
    for place, word in enumerate(words):
        more = place + 1 < len(words)
        if more and word in _JOINED:
            joined += word
        elif more and word in PARTICLES and not joined:
            continue
        else:
            kept.append(_word(joined + word, country))
            joined = ""
    return " ".join(kept)


def _word(word: str, country: str) -> str:
    if country in ("KR", "KP") and word in _KOREAN_VARIANTS:
        return _KOREAN_VARIANTS[word]
    if country == "JP":
        word = long_vowels(word)
    if len(word) < 4:
        return word
    if found := _FAMILY_VARIANTS.get(word):
        return found
    if word.startswith("mac") and len(word) > 6 and word[3] not in "aeiouhk":
        word = "mc" + word[3:]
    word = _FAMILY_UMLAUT.sub(r"\1", word).replace("aa", "a")
    return _one_gender(word, country) if len(word) > 4 else word


_ENDINGS: Final = (
    (("skaya", "skaja", "skaia", "skiy", "skij", "skii", "skyi", "skyy", "sky", "ska"), "ski"),
    (("cka",), "cki"),
    (("ova", "off"), "ov"),
    (("eva", "eff"), "ev"),
    (("kina",), "kin"),
    (("shina",), "shin"),
    (("tina",), "tin"),
    (("gina",), "gin"),
    (("opoulou", "opulou", "opulos", "opoulo"), "opoulos"),
    (("idou",), "idis"),
    (("iadou",), "iadis"),
    (("sdottir",), "sson"),
)
"""Feminine endings and other transliterations of Slavic, Greek and Icelandic family names, and the form they get."""


def _one_gender(word: str, country: str) -> str:
    if country in _CZECH:
        word = word.removesuffix("ova") if len(word) > 6 else word
        return word[:-1] if word[-1] in "aiy" else word
    if country in _GREEK:
        for feminine, masculine in (("ou", "os"), ("aki", "akis"), ("idi", "idis")):
            if word.endswith(feminine):
                return word.removesuffix(feminine) + masculine
    if country == "LV" and word[-1] in "sa":
        return word[:-1]
    if country == "LT":
        return re.sub(r"(iene|aite|yte|ute|as|is|ys|us|e)$", "", word)
    for endings, one in _ENDINGS:
        for ending in endings:
            if word.endswith(ending) and len(word) > len(ending) + 1:
                return (word.removesuffix(ending) + one).replace("tski", "cki")
    return word
