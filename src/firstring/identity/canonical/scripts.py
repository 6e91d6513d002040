"""Other scripts in Latin letters, so that a name agrees with itself however it is written. Pure; letter case is folded.

Cyrillic, Greek, Hangul surnames, the scripts of India and common names in Arabic, Hebrew and Japanese have tables of their
own, because a name is transliterated by habit; every other letter goes through anyascii (ISC licence), which gives a
consistent key: Chinese characters as Mandarin syllables without tones, kana as Hepburn, Arabic and Hebrew without vowels.

Not covered: readings of Japanese names outside the table (they get the key of the characters, which agrees with itself but
not with the reading), vowels of Arabic, Persian, Urdu and Hebrew names outside the table, Cantonese and other romanisations.
"""

from __future__ import annotations

import re
from typing import Final

from anyascii import anyascii

_CYRILLIC: Final = str.maketrans({
    "а": "a", "б": "b", "в": "v", "г": "g", "д": "d", "е": "e", "ё": "e", "ж": "zh", "з": "z", "и": "i", "й": "y",
    "к": "k", "л": "l", "м": "m", "н": "n", "о": "o", "п": "p", "р": "r", "с": "s", "т": "t", "у": "u", "ф": "f",
    "х": "kh", "ц": "ts", "ч": "ch", "ш": "sh", "щ": "shch", "ъ": "", "ы": "y", "ь": "", "э": "e", "ю": "yu", "я": "ya",
    "і": "i", "ї": "i", "є": "ye", "ґ": "g", "ў": "u", "ћ": "c", "ђ": "dj", "љ": "lj", "њ": "nj", "ј": "j", "џ": "dz",
    "ѓ": "gj", "ќ": "kj", "ѕ": "dz", "’": "", "ә": "a", "ғ": "g", "қ": "k", "ң": "n", "ө": "o", "ұ": "u", "ү": "u", "һ": "h",
})  # fmt: skip
_UKRAINIAN_ONLY: Final = frozenset("іїєґ")
_UKRAINIAN: Final = str.maketrans({"г": "h", "и": "y"})
_GREEK: Final = str.maketrans({
    "α": "a", "β": "v", "γ": "g", "δ": "d", "ε": "e", "ζ": "z", "η": "i", "θ": "th", "ι": "i", "κ": "k", "λ": "l",
    "μ": "m", "ν": "n", "ξ": "x", "ο": "o", "π": "p", "ρ": "r", "σ": "s", "ς": "s", "τ": "t", "υ": "y", "φ": "f",
    "χ": "ch", "ψ": "ps", "ω": "o", "ά": "a", "έ": "e", "ή": "i", "ί": "i", "ό": "o", "ύ": "y", "ώ": "o", "ϊ": "i",
    "ΐ": "i", "ϋ": "y", "ΰ": "y",
})  # fmt: skip
_GREEK_TWO: Final = (
    ("ου", "ou"), ("ού", "ou"), ("γγ", "ng"), ("γκ", "gk"), ("μπ", "b"), ("ντ", "nt"), ("τζ", "tz"), ("αυ", "av"),
    ("αύ", "av"), ("ευ", "ev"), ("εύ", "ev"),
)  # fmt: skip
_INDIC_BLOCK: Final = 0x80
"""The scripts of India have blocks of one layout (Unicode 16, chapter 12), so that one table reads nine of them."""
_INDIC_VOWELS: Final = {
    0x05: "a", 0x06: "a", 0x07: "i", 0x08: "i", 0x09: "u", 0x0A: "u", 0x0B: "ri", 0x0E: "e", 0x0F: "e", 0x10: "ai",
    0x12: "o", 0x13: "o", 0x14: "au",
}  # fmt: skip
_INDIC_SIGNS: Final = {
    0x3E: "a", 0x3F: "i", 0x40: "i", 0x41: "u", 0x42: "u", 0x43: "ri", 0x46: "e", 0x47: "e", 0x48: "ai", 0x4A: "o",
    0x4B: "o", 0x4C: "au", 0x4D: "",
}  # fmt: skip
_INDIC_CONSONANTS: Final = dict(
    enumerate(
        (
            "k", "kh", "g", "gh", "n", "ch", "chh", "j", "jh", "n", "t", "th", "d", "dh", "n", "t", "th", "d", "dh", "n",
            "n", "p", "ph", "b", "bh", "m", "y", "r", "r", "l", "l", "l", "v", "sh", "sh", "s", "h",
        ),
        start=0x15,
    )
)  # fmt: skip
_INDIC_NASALS: Final = {0x01: "n", 0x02: "n", 0x03: "h", 0x70: "n"}
_INDIC_WORDS: Final = {"सिंह": "singh", "सिंग": "singh", "चौधरी": "chaudhary", "ਸਿੰਘ": "singh", "মোহাম্মদ": "mohammed"}
_KEEPS_LAST_VOWEL_FROM: Final = 0x0B80
"""Tamil and the scripts after it are of the south, whose names keep the vowel that the north drops at the end."""

_RUN = re.compile(
    "(?P<cyrillic>[\u0400-\u052f]+)|(?P<greek>[\u0370-\u03ff]+)|(?P<semitic>[\u0590-\u06ff\u0750-\u077f]+)"
    "|(?P<indic>[\u0900-\u0d7f]+)|(?P<kana>[\u3041-\u30fa\u30fc-\u30ff]+)|(?P<hangul>[\uac00-\ud7a3]+)|(?P<han>[\u3005\u3400-\u9fff]+)"
)
HAN = re.compile("[\u3005\u3400-\u9fff]+")
HANGUL = re.compile("[\uac00-\ud7a3]+")
KANA = re.compile("[\u3041-\u30fa\u30fc-\u30ff]+")
EAST_ASIAN = re.compile("[\u3005\u3041-\u30ff\u3400-\u9fff\uac00-\ud7a3]")


def _table(text: str) -> dict[str, str]:
    words = text.split()
    return dict(zip(words[::2], words[1::2], strict=True))


_SEMITIC: Final = _table("""
محمد mohammed احمد ahmed أحمد ahmed محمود mahmoud علي ali على ali حسن hassan حسين hussein يوسف yusuf ابراهيم ibrahim
إبراهيم ibrahim خالد khaled عمر omar عمرو amr عثمان othman عبدالله abdullah عبدالرحمن abdulrahman سعيد said سعد saad
سالم salem سامي sami سمير samir كريم karim جمال jamal طارق tariq مصطفى mustafa مصطفي mustafa هشام hisham ياسر yasser
ياسين yassin رشيد rashid ناصر nasser فيصل faisal سلمان salman سلطان sultan بدر badr ماجد majid وليد walid زياد ziad
رامي rami نبيل nabil فهد fahd داود dawud موسى musa عيسى isa اسماعيل ismail إسماعيل ismail صالح saleh حمزة hamza
بلال bilal انس anas أنس anas عادل adel عماد imad ايمن ayman أيمن ayman فاطمة fatima فاطمه fatima عائشة aisha عايشة aisha
مريم maryam زينب zainab خديجة khadija ليلى layla سارة sarah سميرة samira نور nur هدى huda امينة amina أمينة amina
رانيا rania ريم reem سلمى salma هبة hiba ياسمين yasmin منى mona نادية nadia عبد abd بن bin ابن ibn بنت bint ال al آل al
رضا reza فرهاد farhad حميد hamid پریسا parisa مهدی mehdi مهدي mehdi شریف sharif شريف sharif خان khan
משה moshe דוד david יוסף yosef יעקב yaakov אברהם avraham יצחק yitzhak שרה sarah רחל rachel רבקה rivka לאה leah
מרים miriam חנה hannah אסתר esther דניאל daniel מיכאל michael גבריאל gabriel רפאל rafael שלמה shlomo שמואל shmuel
אהרון aharon אהרן aharon אליהו eliyahu אריה aryeh בנימין binyamin נועם noam איתן eitan אורי uri יואב yoav עמית amit
נועה noa תמר tamar מיכל michal יעל yael שירה shira כהן cohen לוי levi מזרחי mizrahi פרץ peretz ביטון biton דהן dahan
אברהמי avrahami פרידמן friedman כץ katz אזולאי azulay בן ben בר bar חיים haim שמעון shimon מאיר meir נתן natan
""")
_ARTICLE: Final = "ال"

JAPANESE_FAMILIES: Final = _table("""
佐藤 sato 鈴木 suzuki 高橋 takahashi 田中 tanaka 伊藤 ito 渡辺 watanabe 渡邊 watanabe 渡邉 watanabe 山本 yamamoto
中村 nakamura 小林 kobayashi 加藤 kato 吉田 yoshida 山田 yamada 佐々木 sasaki 山口 yamaguchi 松本 matsumoto 井上 inoue
木村 kimura 清水 shimizu 林 hayashi 斎藤 saito 斉藤 saito 齋藤 saito 齊藤 saito 山崎 yamazaki
森 mori 池田 ikeda 橋本 hashimoto 阿部 abe 石川 ishikawa 山下 yamashita 中島 nakajima
石井 ishii 小川 ogawa 前田 maeda 岡田 okada 長谷川 hasegawa 藤田 fujita
後藤 goto 近藤 kondo 村上 murakami 遠藤 endo 青木 aoki 坂本 sakamoto 福田 fukuda 太田 ota 西村 nishimura 藤井 fujii
岡本 okamoto 藤原 fujiwara 金子 kaneko 三浦 miura 中野 nakano 中川 nakagawa 原田 harada 松田 matsuda 竹内 takeuchi
小野 ono 田村 tamura 中山 nakayama 和田 wada 石田 ishida 森田 morita 上田 ueda 原 hara 内田 uchida 柴田 shibata 酒井 sakai
宮崎 miyazaki 横山 yokoyama 高木 takagi 安藤 ando 宮本 miyamoto 大野 ono 小島 kojima 工藤 kudo 谷口 taniguchi 今井 imai
高田 takada 丸山 maruyama 増田 masuda 杉山 sugiyama 村田 murata 大塚 otsuka 新井 arai 小山 koyama 平野 hirano 藤本 fujimoto
河野 kono 上野 ueno 野口 noguchi 武田 takeda 松井 matsui 千葉 chiba 岩崎 iwasaki 菅原 sugawara 木下 kinoshita
""")
JAPANESE_GIVEN: Final = _table("""
太郎 taro 一郎 ichiro 次郎 jiro 健一 kenichi 健太 kenta 大輔 daisuke 翔太 shota 拓也 takuya 誠 makoto 浩 hiroshi 博 hiroshi
隆 takashi 直樹 naoki 裕子 yuko 花子 hanako 恵子 keiko 洋子 yoko 幸子 sachiko 和子 kazuko 久美子 kumiko 由美子 yumiko
真由美 mayumi 愛 ai 美咲 misaki 陽菜 hina 結衣 yui 葵 aoi さくら sakura 明 akira 勝 masaru 清 kiyoshi 進 susumu 学 manabu
""")
KOREAN_FAMILIES: Final = _table("""
김 kim 이 lee 박 park 최 choi 정 jung 강 kang 조 cho 윤 yoon 장 jang 임 lim 한 han 오 oh 서 seo 신 shin 권 kwon 황 hwang
안 ahn 송 song 류 ryu 유 yoo 전 jeon 홍 hong 고 ko 문 moon 양 yang 손 son 배 bae 백 baek 허 heo 남 nam 심 shim 노 noh 하 ha
곽 kwak 성 sung 차 cha 주 joo 우 woo 구 koo 민 min 진 jin 지 ji 엄 eom 채 chae 원 won 천 chun 방 bang 공 kong 현 hyun 함 ham
변 byun 염 yeom 여 yeo 추 choo 도 do 소 so 석 seok 선 sun 설 seol 마 ma 길 gil 연 yeon 위 wi 표 pyo 명 myung 기 ki 반 ban
남궁 namgung 황보 hwangbo 제갈 jegal 선우 sunwoo 독고 dokgo 사공 sagong
""")
CHINESE_FAMILIES: Final = _table("""
欧阳 ouyang 歐陽 ouyang 司马 sima 司馬 sima 上官 shangguan 诸葛 zhuge 諸葛 zhuge 司徒 situ 东方 dongfang 夏侯 xiahou
皇甫 huangfu 尉迟 yuchi 公孙 gongsun 慕容 murong 令狐 linghu 宇文 yuwen 端木 duanmu 长孙 zhangsun 曾 zeng
单 shan 單 shan 解 xie 仇 qiu 区 ou 查 zha 任 ren 盖 ge 华 hua 覃 qin 朴 piao 缪 miao 冼 xian
翟 zhai 乐 yue 尹 yin 柏 bai 沈 shen
""")
"""Names of two characters, and those of one that are read in another way as a name than as a word."""


def latin(text: str) -> str:
    """Case-folded text of any script in ASCII letters; what is neither letter nor digit may stay as it is."""
    found = _RUN.sub(_run, text)
    return found if found.isascii() else anyascii(found).lower()


def ukrainian(text: str) -> str:
    """Text with the two letters that Ukrainian reads in its own way already read, where its letters show it."""
    return text if _UKRAINIAN_ONLY.isdisjoint(text) else text.translate(_UKRAINIAN)


def _run(match: re.Match[str]) -> str:
    run, script = match[0], match.lastgroup
    if script == "cyrillic":
        return run.translate(_CYRILLIC)
    if script == "greek":
        for two, written in _GREEK_TWO:
            run = run.replace(two, written)
        return run.translate(_GREEK)
    if script == "semitic":
        return _semitic(run)
    if script == "indic":
        return _indic(run)
    if script == "kana":
        return _kana(run)
    return anyascii(run).lower()


_SMALL: Final = {
    "ゃ": "ya", "ゅ": "yu", "ょ": "yo", "ャ": "ya", "ュ": "yu", "ョ": "yo", "ァ": "a", "ィ": "i", "ゥ": "u", "ェ": "e",
    "ォ": "o", "ぁ": "a", "ぃ": "i", "ぅ": "u", "ぇ": "e", "ぉ": "o",
}  # fmt: skip


def _kana(run: str) -> str:
    """Hepburn, with every vowel short, because a long one is written in several ways: satou, satoo, sato."""
    spelled = ""
    doubled = False
    for char in run:
        if char in "っッ":
            doubled = True
        elif char == "ー":
            continue
        elif (small := _SMALL.get(char)) and spelled[-1:] in ("i", "u", "e", "o"):
            begin = spelled[:-1]
            spelled = begin + (small[1:] if small[0] == "y" and begin.endswith(("sh", "ch", "j")) else small)
        else:
            sound = anyascii(char).lower()
            spelled += sound[:1] + sound if doubled else sound
            doubled = False
    return long_vowels(spelled)


def long_vowels(text: str) -> str:
    """Romanised Japanese with every vowel short: ou and oo are o, uu is u."""
    return text.replace("ou", "o").replace("oo", "o").replace("uu", "u")


def _semitic(word: str) -> str:
    if found := _SEMITIC.get(word):
        return found
    if word.startswith(_ARTICLE) and len(word) > 4:
        return f"al {_semitic(word[2:])}"
    return anyascii(word).lower()


def _indic(word: str) -> str:
    """By syllables: a consonant has the vowel a unless a sign says another or none; the north drops it at the end."""
    if found := _INDIC_WORDS.get(word):
        return found
    spelled: list[str] = []
    pending = False
    for char in word:
        place = ord(char) % _INDIC_BLOCK
        if (consonant := _INDIC_CONSONANTS.get(place)) is not None:
            spelled.append("a" + consonant if pending else consonant)
            pending = True
        elif (sign := _INDIC_SIGNS.get(place)) is not None:
            spelled.append(sign)
            pending = False
        elif (other := _INDIC_VOWELS.get(place) or _INDIC_NASALS.get(place)) is not None:
            spelled.append("a" + other if pending else other)
            pending = False
    if pending and ord(word[-1]) >= _KEEPS_LAST_VOWEL_FROM:
        spelled.append("a")
    return "".join(spelled)
