"""The order of the words of a whole name: which of them are the family's, by country. Pure, on folded words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from firstring.identity.canonical.spellings import PARTICLES

_TWO_FAMILIES: Final = frozenset(
    (
        "ES", "MX", "CO", "CL", "PE", "VE", "EC", "GT", "CU", "BO", "DO", "HN", "PY", "SV", "NI", "CR", "PA", "UY", "PR",
        "PT", "BR", "AO", "MZ", "PH",
    )
)  # fmt: skip
_SECOND_GIVEN: Final = frozenset(
    (
        "luis", "jose", "maria", "antonio", "carlos", "angel", "manuel", "alberto", "jesus", "fernando", "javier", "ignacio",
        "pablo", "miguel", "eduardo", "enrique", "andres", "isabel", "carmen", "teresa", "elena", "pilar", "dolores",
        "cristina", "victoria", "rosa", "luisa", "fernanda", "alejandra", "juan", "francisco", "ramon", "rafael", "ricardo",
        "roberto", "daniel", "david", "pedro", "paulo", "paula", "ana", "clara", "beatriz", "lucia", "sofia", "gabriel",
        "gabriela", "felipe", "henrique", "augusto", "cesar", "mario", "alejandro", "patricia", "mercedes", "josefa",
        "guadalupe", "sergio", "jorge", "gustavo", "vitor", "joao", "carolina", "helena", "eugenia", "julia", "laura",
    )
)  # fmt: skip
"""Given names that are often the second of two."""
_FAMILY_FIRST: Final = {
    "HU": frozenset(
        (
            "nagy", "kovacs", "toth", "szabo", "horvath", "varga", "kiss", "molnar", "nemeth", "farkas", "balogh", "papp",
            "takacs", "juhasz", "lakatos", "meszaros", "olah", "simon", "racz", "fekete", "szilagyi", "torok", "feher",
            "balazs", "gal", "kis", "szucs", "kocsis", "orsos", "pinter", "fodor", "szalai", "sipos", "magyar", "lukacs",
        )
    ),
    "VN": frozenset(
        (
            "nguyen", "tran", "le", "pham", "hoang", "huynh", "phan", "vu", "vo", "dang", "bui", "do", "ho", "ngo", "duong",
            "ly", "dinh", "truong", "lam", "trinh", "mai", "dao", "doan", "luong", "thai",
        )
    ),
    "CN": frozenset(
        (
            "wang", "li", "zhang", "liu", "chen", "yang", "zhao", "huang", "zhou", "wu", "xu", "sun", "hu", "zhu", "gao",
            "lin", "he", "guo", "ma", "luo", "liang", "song", "zheng", "xie", "han", "tang", "feng", "yu", "dong", "xiao",
            "cheng", "cao", "yuan", "deng", "fu", "shen", "zeng", "peng", "lu", "su", "jiang", "cai", "jia", "ding", "wei",
            "xue", "ye", "yan", "pan", "du", "dai", "xia", "zhong", "tian", "ren", "fan", "fang", "shi", "yao", "tan",
            "ouyang", "sima", "zhuge", "shangguan",
        )
    ),
    "KR": frozenset(
        (
            "kim", "lee", "yi", "rhee", "park", "pak", "bak", "choi", "choe", "jung", "jeong", "chung", "kang", "cho", "jo",
            "yoon", "yun", "jang", "chang", "lim", "im", "han", "oh", "seo", "suh", "shin", "kwon", "hwang", "ahn", "an",
            "song", "ryu", "yoo", "yu", "jeon", "hong", "ko", "koh", "moon", "yang", "son", "bae", "baek", "paik", "heo",
            "hur", "nam", "noh", "ha", "kwak", "sung", "cha", "joo", "woo", "koo", "min", "namgung",
        )
    ),
    "JP": frozenset(
        (
            "sato", "suzuki", "takahashi", "tanaka", "ito", "watanabe", "yamamoto", "nakamura", "kobayashi", "kato",
            "yoshida", "yamada", "sasaki", "yamaguchi", "matsumoto", "inoue", "kimura", "shimizu", "hayashi", "saito",
            "yamazaki", "mori", "ikeda", "hashimoto", "abe", "ishikawa", "yamashita", "nakajima", "ishii", "ogawa",
            "maeda", "okada", "hasegawa", "fujita", "goto", "kondo", "murakami", "endo", "aoki", "sakamoto",
        )
    ),
}  # fmt: skip
_SAME_HABIT: Final = {"TW": "CN", "HK": "CN", "MO": "CN", "SG": "CN", "KP": "KR"}
_USUALLY_FIRST: Final = frozenset(("HU", "VN", "KR", "CN"))
"""Where a name of which nothing is known has the family's first. Japanese names in Latin letters mostly do not."""
_PATRONYMIC: Final = (
    "ovich", "evich", "ovych", "evych", "yovych", "ovna", "evna", "ivna", "yivna", "ichna", "inichna", "ilyich", "ilich",
    "ovic", "evic",
)  # fmt: skip
_EAST_SLAVIC: Final = frozenset(("RU", "UA", "BY", "KZ", "KG", "UZ", "TJ", "TM", "AM", "AZ", "MD", "GE"))
_SLAVIC_FAMILY: Final = (
    "ov", "ev", "in", "yn", "ova", "eva", "ina", "yna", "sky", "skiy", "skii", "skaya", "skaia", "enko", "uk", "yuk", "chuk",
    "ko", "ykh", "ikh", "ski", "ska",
)  # fmt: skip


def patronymic_last(words: Sequence[str], country: str) -> bool:
    """Ivanov Ivan Petrovich: three words, the last of them a patronymic, the first a family name."""
    if len(words) != 3 or not words[2].endswith(_PATRONYMIC) or words[1].endswith(_PATRONYMIC):
        return False
    return country in _EAST_SLAVIC or words[0].endswith(_SLAVIC_FAMILY)


def family_first(words: Sequence[str], country: str) -> bool:
    """Whether the family name stands first, by the country's habit and its commonest family names."""
    country = _SAME_HABIT.get(country, country)
    known = _FAMILY_FIRST.get(country)
    if known is None:
        return False
    first, last = words[0] in known, words[-1] in known
    return first if first != last else country in _USUALLY_FIRST


def families(words: Sequence[str], country: str) -> int:
    """How many of the last words are family names (particles not counted), at least 1 and fewer than all."""
    if country not in _TWO_FAMILIES or len(words) < 3:
        return 1
    named = [place for place in range(1, len(words)) if words[place] not in PARTICLES]
    if len(named) < 2:
        return 1
    one_before = named[-2]
    if len(named) == 2 and words[one_before] in _SECOND_GIVEN and not _particle_between(words, one_before):
        return 1
    return len(words) - one_before


def _particle_between(words: Sequence[str], place: int) -> bool:
    return words[place - 1] in PARTICLES and place > 1
