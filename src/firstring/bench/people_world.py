"""Customers of sixteen countries as several systems write them: in their own script, transliterated, in another order.

Beside bench/people, whose names are written in one way each. Person number n of a seed is a function of (seed, n) alone.
Names are common ones of their countries; every person is invented. `VERSION` goes up with any change of what a seed gives.
"""

# ruff: noqa: E501 - lists of words

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

VERSION: Final = "world-2"
COLUMNS: Final = ("record_id", "full_name", "given_name", "family_name", "birth_date", "phone", "email", "address", "city",
                  "postcode", "country")  # fmt: skip
_MIX: Final = 0x5851F42D4C957F2D
_TYPOS: Final = 0.06
_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz"


class Country(NamedTuple):
    """Names as `own=latin/latin`, the own writing first; woman's form of a family name after a colon.

    order: whether the family's name is first in the own writing. streets: spellings of one street name with {} for it.
    """

    code: str
    male: tuple[str, ...]
    female: tuple[str, ...]
    family: tuple[str, ...]
    cities: tuple[str, ...]
    streets: tuple[str, ...]
    names_of_streets: tuple[str, ...]
    family_first: bool = False
    two_families: bool = False
    joined: bool = False


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_COUNTRIES: Final = (
    Country("RU", _words("Сергей=Sergey/Sergei Дмитрий=Dmitry/Dmitriy Алексей=Alexey/Aleksei Юрий=Yuri/Yuriy Иван=Ivan Михаил=Mikhail Андрей=Andrey/Andrei Владимир=Vladimir Николай=Nikolay/Nikolai Евгений=Evgeny/Yevgeni"),
            _words("Анна=Anna Наталья=Natalia/Natalya Юлия=Yulia/Julia Татьяна=Tatiana/Tatyana Екатерина=Ekaterina Ольга=Olga Мария=Maria/Mariya Светлана=Svetlana Ирина=Irina Елена=Elena/Yelena"),
            _words("Иванов:Иванова=Ivanov:Ivanova Смирнов:Смирнова=Smirnov:Smirnova Кузнецов:Кузнецова=Kuznetsov:Kuznetsova Попов:Попова=Popov:Popova Васильев:Васильева=Vasiliev:Vasilieva Соколов:Соколова=Sokolov:Sokolova Троцкий:Троцкая=Trotsky:Trotskaya Лебедев:Лебедева=Lebedev:Lebedeva Морозов:Морозова=Morozov:Morozova Волков:Волкова=Volkov:Volkova Зайцев:Зайцева=Zaitsev:Zaitseva Шевченко=Shevchenko"),
            _words("Москва Казань Самара"), _words("ул._{}_9 {}_ulitsa_9 ulitsa_{}_9"), _words("Lenina Mira Sadovaya Pushkina")),
    Country("GR", _words("Γεώργιος=Georgios/Giorgos Ιωάννης=Ioannis/Yiannis Κωνσταντίνος=Konstantinos Δημήτριος=Dimitrios/Dimitris Νικόλαος=Nikolaos Παναγιώτης=Panagiotis Χρήστος=Christos"),
            _words("Μαρία=Maria Ελένη=Eleni Αικατερίνη=Aikaterini/Ekaterini Βασιλική=Vasiliki Σοφία=Sofia Άννα=Anna"),
            _words("Παπαδόπουλος:Παπαδοπούλου=Papadopoulos:Papadopoulou Βλάχος:Βλάχου=Vlachos:Vlachou Αγγελόπουλος:Αγγελοπούλου=Angelopoulos:Angelopoulou Νικολαΐδης:Νικολαΐδου=Nikolaidis:Nikolaidou Γεωργίου=Georgiou Δημητρίου=Dimitriou"),
            _words("Αθήνα Πάτρα"), _words("{}_9 Οδός_{}_9"), _words("Ermou Solonos Akadimias")),
    Country("DE", _words("Jürgen=Juergen/Jurgen Jörg=Joerg/Jorg Günter=Guenter/Gunter Björn=Bjoern Klaus Hans Michael Stefan Thomas Andreas Karl"),
            _words("Käthe=Kaethe Ursula Monika Petra Sabine Renate Heike Julia Anna Katharina"),
            _words("Müller=Mueller/Muller Schröder=Schroeder/Schroder Jäger=Jaeger Groß=Gross Köhler=Koehler Weiß=Weiss Böhm=Boehm Schäfer=Schaefer Krüger=Krueger Schmidt Fischer Weber von_Stein=Stein"),
            _words("Berlin Köln München"), _words("{}straße_9 {}str._9 {}strasse_9"), _words("Haupt Garten Bahnhof Schul")),
    Country("ES", _words("José Luis Carlos Javier Antonio Manuel Francisco Álvaro Íñigo Jesús"),
            _words("María Carmen Lucía Ana Isabel Pilar Dolores Sofía Inés"),
            _words("García González=Gonzales Rodríguez Fernández López Martínez Sánchez Pérez Gómez Martín Jiménez Ruiz Hernández Díaz Moreno Muñoz Álvarez Romero Alonso Gutiérrez Navarro Torres Domínguez"),
            _words("Madrid Sevilla Bilbao"), _words("Calle_{}_9 C/_{},_9 {}_9"), _words("Mayor Real Cervantes Nueva"), two_families=True),
    Country("BR", _words("João José Antônio Francisco Carlos Paulo Pedro Lucas Luiz Marcos"),
            _words("Maria Ana Francisca Antônia Adriana Juliana Márcia Fernanda Patrícia"),
            _words("da_Silva=Silva dos_Santos=Santos de_Souza=Sousa de_Oliveira=Oliveira Pereira Lima Ferreira Costa Rodrigues Almeida Nascimento Araújo Ribeiro Carvalho"),
            _words("São_Paulo Recife"), _words("Rua_{}_9 R._{},_9"), _words("Augusta Bahia Goiás"), two_families=True),
    Country("PL", _words("Łukasz=Lukasz Paweł=Pawel Michał=Michal Piotr Krzysztof Andrzej Tomasz Jan Stanisław=Stanislaw"),
            _words("Małgorzata=Malgorzata Agnieszka Katarzyna Anna Barbara Ewa Elżbieta=Elzbieta Zofia"),
            _words("Kowalski:Kowalska Wiśniewski:Wiśniewska Dąbrowski:Dąbrowska Lewandowski:Lewandowska Zieliński:Zielińska Szymański:Szymańska Nowak Woźniak Mazur Kaczmarek Potocki:Potocka"),
            _words("Warszawa Kraków"), _words("ul._{}_9 ulica_{}_9 {}_9"), _words("Długa Polna Leśna Krótka")),
    Country("CZ", _words("Jiří=Jiri Jan Petr Josef Pavel Tomáš=Tomas Jaroslav Miroslav"),
            _words("Jana Eva Hana Anna Lenka Kateřina=Katerina Věra=Vera Lucie"),
            _words("Novák:Nováková Svoboda:Svobodová Novotný:Novotná Dvořák:Dvořáková Černý:Černá Procházka:Procházková Kučera:Kučerová Veselý:Veselá Horák:Horáková"),
            _words("Praha Brno"), _words("{}_9"), _words("Nádražní Školní Zahradní")),
    Country("EG", _words("محمد=Mohamed/Muhammad/Mohammed أحمد=Ahmed/Ahmad محمود=Mahmoud مصطفى=Mustafa/Mostafa يوسف=Youssef/Yusuf حسن=Hassan خالد=Khaled/Khalid عمر=Omar/Umar ابراهيم=Ibrahim طارق=Tarek/Tariq كريم=Karim/Kareem"),
            _words("فاطمة=Fatma/Fatima مريم=Mariam/Maryam عائشة=Aisha/Aicha ليلى=Laila/Leila نور=Nour/Noor سارة=Sara زينب=Zeinab/Zainab هدى=Huda ياسمين=Yasmin/Yasmine"),
            _words("حسن=Hassan السيد=El-Sayed/Al-Sayed علي=Ali ابراهيم=Ibrahim محمود=Mahmoud عثمان=Osman/Othman صالح=Saleh الحسن=Al-Hassan/El_Hassan عبدالله=Abdullah/Abdallah سالم=Salem ناصر=Nasser سليمان=Soliman"),
            _words("Cairo Giza"), _words("9_{}_St 9_{}_Street"), _words("Tahrir Nile Gomhoria")),
    Country("IN", _words("राजेश=Rajesh संजय=Sanjay विजय=Vijay/Bijay अनिल=Anil दीपक=Deepak/Dipak सुनील=Sunil/Suneel अमित=Amit मोहन=Mohan राहुल=Rahul"),
            _words("लक्ष्मी=Lakshmi/Laxmi सुनीता=Sunita प्रिया=Priya गीता=Geeta/Gita सीमा=Seema/Sima कविता=Kavita मीना=Meena"),
            _words("शर्मा=Sharma वर्मा=Verma/Varma सिंह=Singh गुप्ता=Gupta पटेल=Patel चौधरी=Chaudhary/Choudhury मिश्रा=Mishra/Misra यादव=Yadav अय्यर=Iyer/Aiyar रेड्डी=Reddy"),
            _words("Delhi Pune"), _words("9_{}_Road 9,_{}_Rd"), _words("Gandhi Station Temple")),
    Country("JP", _words("太郎=Taro/Tarou 健一=Kenichi 大輔=Daisuke 翔太=Shota/Shouta 誠=Makoto 浩=Hiroshi 直樹=Naoki 明=Akira"),
            _words("花子=Hanako 裕子=Yuko/Yuuko 恵子=Keiko 美咲=Misaki 愛=Ai 由美子=Yumiko 陽菜=Hina"),
            _words("佐藤=Sato/Satou 鈴木=Suzuki 高橋=Takahashi 田中=Tanaka 伊藤=Ito/Itou 渡辺=Watanabe 山本=Yamamoto 中村=Nakamura 小林=Kobayashi 加藤=Kato/Katou 山田=Yamada 斎藤=Saito/Saitou 遠藤=Endo/Endou"),
            _words("Tokyo Osaka"), _words("{}_9"), _words("Ginza Umeda Shibuya"), family_first=True, joined=True),
    Country("KR", _words("철수=Chul-Soo/Cheolsu 민준=Min-Jun/Minjoon 지훈=Ji-Hoon/Jihun 성민=Sung-Min/Seongmin 동현=Dong-Hyun/Donghyeon 준호=Jun-Ho/Joonho 영수=Young-Soo/Yeongsu"),
            _words("영희=Young-Hee/Yeonghui 지영=Ji-Young/Jiyeong 수진=Soo-Jin/Sujin 민지=Min-Ji/Minji 은경=Eun-Kyung/Eungyeong 현주=Hyun-Joo/Hyeonju"),
            _words("김=Kim 이=Lee/Yi 박=Park/Pak 최=Choi 정=Jung/Jeong 강=Kang 조=Cho 윤=Yoon/Yun 장=Jang 임=Lim/Im 한=Han 신=Shin 남궁=Namgung"),
            _words("Seoul Busan"), _words("9_{}-ro 9_{}_ro"), _words("Jong Teheran Hangang"), family_first=True, joined=True),
    Country("CN", _words("伟=Wei 小明=Xiaoming 建国=Jianguo 志强=Zhiqiang 俊杰=Junjie 浩然=Haoran 文博=Wenbo 国华=Guohua"),
            _words("芳=Fang 丽娜=Lina 秀英=Xiuying 小红=Xiaohong 雪梅=Xuemei 美玲=Meiling 静怡=Jingyi"),
            _words("王=Wang 李=Li 张=Zhang 刘=Liu 陈=Chen 杨=Yang 赵=Zhao 黄=Huang 周=Zhou 吴=Wu 徐=Xu 孙=Sun 欧阳=Ouyang 曾=Zeng 任=Ren"),
            _words("Beijing Shanghai"), _words("9_{}_Road {}_Rd_9"), _words("Nanjing Renmin Zhongshan"), family_first=True, joined=True),
    Country("HU", _words("István=Istvan László=Laszlo József=Jozsef János=Janos Zoltán=Zoltan Gábor=Gabor Ferenc"),
            _words("Mária=Maria Erzsébet=Erzsebet Katalin Ilona Éva=Eva Anna Zsuzsanna"),
            _words("Nagy Kovács=Kovacs Tóth=Toth Szabó=Szabo Horváth=Horvath Varga Kiss Molnár=Molnar Németh=Nemeth Farkas Balogh Takács=Takacs"),
            _words("Budapest Pécs"), _words("{}_utca_9 {}_u._9"), _words("Petőfi Kossuth Fő"), family_first=True),
    Country("NL", _words("Jan=Johan Pieter Willem Henk Daan Sem Bram Lars Thijs"), _words("Anna Emma Sophie Lotte Sanne Femke Fleur Els"),
            _words("de_Vries=Vries van_der_Berg=Berg van_den_Broek=Broek Jansen Bakker Visser Smit Meijer=Meyer van_Dijk=Dijk Mulder de_Groot=Groot Vos ter_Horst=Horst"),
            _words("Utrecht Delft"), _words("{}straat_9 {}str._9"), _words("Kerk Dorps Molen")),
    Country("VN", _words("An Bình=Binh Cường=Cuong Dũng=Dung Đức=Duc Hải=Hai Minh Nam Quân=Quan Sơn=Son"),
            _words("Hoa Lan Mai Hương=Huong Linh Nga Ngọc=Ngoc Phương=Phuong Thảo=Thao"),
            _words("Nguyễn=Nguyen Trần=Tran Lê=Le Phạm=Pham Hoàng=Hoang Phan Vũ=Vu Đặng=Dang Bùi=Bui Đỗ=Do Ngô=Ngo"),
            _words("Hanoi Hue"), _words("9_{}"), _words("Trang_Tien Le_Loi"), family_first=True),
    Country("TR", _words("Mehmet Mustafa Ahmet Ali Hüseyin=Huseyin Hasan İbrahim=Ibrahim Işık=Isik Ömer=Omer"),
            _words("Fatma Ayşe=Ayse Emine Zeynep Şule=Sule Elif Gül=Gul"),
            _words("Yılmaz=Yilmaz Kaya Demir Çelik=Celik Şahin=Sahin Yıldız=Yildiz Öztürk=Ozturk Aydın=Aydin Doğan=Dogan Kılıç=Kilic"),
            _words("İstanbul İzmir"), _words("{}_Caddesi_9 {}_Cad._9"), _words("Atatürk İnönü")),
)  # fmt: skip

_RARE: Final = {
    "RU": (
        _words(
            "Бар=Bar Вол=Vol Гор=Gor Дор=Dor Жар=Zhar Зуб=Zub Кар=Kar Мал=Mal Нос=Nos Рог=Rog Сам=Sam Тар=Tar Чер=Cher Шар=Shar Бел=Bel Гал=Gal"
        ),
        _words("анов:анова=anov:anova инский:инская=insky:inskaya енко=enko ушкин:ушкина=ushkin:ushkina"),
    ),
    "GR": (
        _words(
            "Καρ=Kar Μαν=Man Πετρ=Petr Στεφ=Stef Θεο=Theo Λαμπ=Lamp Σταυρ=Stavr Δημ=Dim Αθαν=Athan Ζαχ=Zach Κων=Kon Μιχ=Mich Νικ=Nik Τσολ=Tsol Χαρ=Char Φιλ=Fil"
        ),
        _words("όπουλος:οπούλου=opoulos:opoulou ίδης:ίδου=idis:idou άκης:άκη=akis:aki"),
    ),
    "DE": (
        _words(
            "Achen Bach Birken Buch Dorn Eichen Eisen Feld Grün=Gruen Hahn Kirch Kühn=Kuehn Linden Mühl=Muehl Rosen Süß=Suess Wald"
        ),
        _words("mann meier bauer hofer stein"),
    ),
    "ES": (
        _words("Alb Barr Cald Carr Esc Gall Herr Lag Maldon Montor Olm Ort Pach Quint Robl Sald Villar"),
        _words("ado ero illo ales oso"),
    ),
    "BR": (
        _words("Albuq Barr Cald Camp Fig Guim Lac Magal Medeir Mont Paç Quei Rez Sal Teix Vasc"),
        _words("ueira ão=ao ães=aes elos eira"),
    ),
    "PL": (
        _words("Bar Bor Czar Dęb=Deb Gór=Gor Jabł=Jabl Kam Kras Lip Mal Ost Pał=Pal Rud Sob Turz Wrób=Wrob"),
        _words("owski:owska iński:ińska=inski:inska ewicz czak"),
    ),
    "CZ": (
        _words("Bed Bart Čer=Cer Dol Fial Hav Jel Kol Krej Mar Něm=Nem Pol Růž=Ruz Sed Šim=Sim Vac"),
        _words("ek:ková=ek:kova ný:ná=ny:na ák:áková=ak:akova"),
    ),
    "EG": (
        _words(
            "عبد=Abd بدر=Badr جمال=Gamal حامد=Hamed رشيد=Rashid سعد=Saad شريف=Sherif صبري=Sabry عادل=Adel فؤاد=Fouad كامل=Kamel ماهر=Maher نبيل=Nabil هاشم=Hashem وليد=Walid يحيى=Yehia"
        ),
        _words("_حسن=_Hassan _علي=_Ali _خالد=_Khaled _سالم=_Salem"),
    ),
    "IN": (
        _words(
            "अग्र=Agr भट=Bhat चन्द=Chand देश=Desh गोख=Gokh जोश=Josh कुल=Kul मल=Mal नाय=Nay पाण=Pan राज=Raj सक्स=Saks ठाक=Thak त्रिव=Triv"
        ),
        _words("वाल=wal कर=kar पांडे=pande राव=rao"),
    ),
    "HU": (
        _words("Bal Bar Csiz Dob Fej Gál=Gal Hegy Jak Kel Lov Mész=Mesz Ols Pál=Pal Rad Sár=Sar Vár=Var"),
        _words("asi osi ényi=enyi adi mári=mari"),
    ),
    "NL": (
        _words("Berg Boom Bos Dam Eik Geer Haag Hoek Kamp Leeuw Meer Noor Ooster Poel Rijn Schip Tol Veen"),
        _words("stra sma huis man veld"),
    ),
    "TR": (
        _words("Ak Altın=Altin Bal Boz Çak=Cak Dağ=Dag Er Gök=Gok Kara Koç=Koc Öz=Oz Sarı=Sari Taş=Tas Uç=Uc Yeşil=Yesil"),
        _words("oğlu=oglu taş=tas kaya türk=turk bay"),
    ),
}
"""Parts of rare family names, two of which make one, by country: a register has a long tail."""
_SYLLABLES: Final = {
    "CN": _words(
        "伟=wei 明=ming 国=guo 志=zhi 强=qiang 俊=jun 杰=jie 浩=hao 文=wen 博=bo 华=hua 丽=li 秀=xiu 英=ying 雪=xue 梅=mei 静=jing 建=jian 林=lin 海=hai"
    ),
    "KR": _words(
        "민=min 준=jun/joon 지=ji 훈=hoon/hun 성=sung/seong 동=dong 현=hyun/hyeon 수=soo/su 영=young/yeong 철=chul/cheol 희=hee/hui 은=eun 경=kyung/gyeong 주=joo/ju 진=jin 호=ho"
    ),
}
"""Where family names are few and given names many: the syllables of given names."""


class Written(NamedTuple):
    """What `write` made; truth has record_id and person."""

    file: Path
    truth: Path
    records: int
    persons: int


def records(seed: int, number: int) -> Iterator[tuple[int, tuple[str, ...]]]:
    """(person, row) of household `number`: a man and a woman of one family name at one address, one to four records each."""
    rng = random.Random(seed * _MIX + number)  # noqa: S311 - reproducible, not secret
    country = _COUNTRIES[number % len(_COUNTRIES)]
    family = [_family(rng, country)]
    if country.two_families:
        family.append(_family(rng, country))
    city, street, house = rng.choice(country.cities), rng.choice(country.names_of_streets), str(rng.randint(1, 180))
    postcode = f"{rng.randint(10_000, 99_999)}"
    for place in range(rng.choice((1, 2, 2))):
        woman = place == 1 or rng.random() < 0.3
        given = _given(rng, country, country.female if woman else country.male)
        born = f"{rng.randint(1940, 2004)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"
        phone = f"+{rng.randint(20_000_000_000, 69_999_999_999)}"
        email = f"{_latin(given).lower()}{rng.randint(1, 9_999)}@mail{rng.randint(1, 5)}.example.org"
        person = number * 2 + place
        for copy in range(rng.choice((1, 2, 2, 3, 4))):
            name = _written(rng, country, given, family, woman=woman)
            address = (
                rng.choice(country.streets).replace("_", " ").replace("{}", street.replace("_", " ")).replace("9", house)
            )
            row = (
                f"w{person:07d}-{copy}", *name, born if rng.random() < 0.8 else "", phone if rng.random() < 0.5 else "",
                email if rng.random() < 0.5 else "", address if rng.random() < 0.8 else "", city.replace("_", " "),
                postcode if rng.random() < 0.8 else "", country.code,
            )  # fmt: skip
            yield person, row


def write(folder: Path, seed: int, households: int) -> Written:
    """Writes all records of so many households, in another order, and the truth."""
    rows = [one for number in range(households) for one in records(seed, number)]
    random.Random(seed).shuffle(rows)  # noqa: S311
    file, truth = folder / "world.csv", folder / "world_truth.csv"
    with file.open("w", encoding="utf-8", newline="") as one, truth.open("w", encoding="utf-8", newline="") as other:
        writer, told = csv.writer(one, lineterminator="\n"), csv.writer(other, lineterminator="\n")
        writer.writerow(COLUMNS)
        told.writerow(("record_id", "person"))
        for person, row in rows:
            writer.writerow(row)
            told.writerow((row[0], person))
    return Written(file, truth, len(rows), len({person for person, _ in rows}))


def _chosen(rng: random.Random, words: tuple[str, ...]) -> str:
    return words[int(rng.random() * rng.random() * len(words))]


def _family(rng: random.Random, country: Country) -> str:
    if country.code not in _RARE or rng.random() < 0.3:
        return _chosen(rng, country.family)
    begins, ends = _RARE[country.code]
    return _joined(rng.choice(begins), rng.choice(ends))


def _given(rng: random.Random, country: Country, names: tuple[str, ...]) -> str:
    if country.code not in _SYLLABLES or rng.random() < 0.3:
        return _chosen(rng, names)
    first, second = rng.choice(_SYLLABLES[country.code]), rng.choice(_SYLLABLES[country.code])
    own = first.partition("=")[0] + second.partition("=")[0]
    pairs = zip(_variants(first), _variants(second), strict=True)
    mark = "-" if country.code == "KR" else ""
    return own + "=" + "/".join(f"{one.capitalize()}{mark}{other}" for one, other in pairs)


def _variants(part: str) -> tuple[str, str]:
    """Both spellings of a part; one that has one has it twice."""
    spellings = (part.partition("=")[2] or part).split("/")
    return spellings[0], spellings[-1]


def _joined(begin: str, end: str) -> str:
    """A family name of two parts, in its own and in Latin writing, for men and women."""
    own, _, latin = begin.partition("=")
    own_end, _, latin_end = end.partition("=")
    own_forms = ":".join(own + one for one in own_end.split(":"))
    if not latin and not latin_end:
        return own_forms
    return own_forms + "=" + ":".join((latin or own) + one for one in (latin_end or own_end).split(":"))


def _latin(name: str) -> str:
    """A name as it is written in Latin letters most often."""
    written = name.partition("=")[2] or name
    return (
        "".join(letter for letter in written.split("/")[0].split(":")[0] if letter.isascii() and letter.isalpha()) or "post"
    )


def _form(rng: random.Random, name: str, *, own: bool, woman: bool) -> str:
    """One writing of a name; a woman's family name now and then in the man's form, as offices abroad do."""
    first, _, rest = name.partition("=")
    written = first if own or not rest else rng.choice(rest.split("/"))
    man, colon, her = written.partition(":")
    return (her if colon and woman and rng.random() < 0.85 else man).replace("_", " ")


def _written(rng: random.Random, country: Country, given: str, family: list[str], *, woman: bool) -> tuple[str, str, str]:
    """(full name, given name, family name): a whole name, or its parts, in one of the writings."""
    own = rng.random() < 0.5
    first = _form(rng, given, own=own, woman=woman)
    last = [_form(rng, one, own=own, woman=woman) for one in family]
    if len(last) > 1 and rng.random() < 0.3:
        last = last[:1]
    if rng.random() < _TYPOS and len(first) > 3:
        place = rng.randint(1, len(first) - 2)
        first = first[:place] + rng.choice(_ALPHABET) + first[place + 1 :]
    surname = " ".join(last)
    if rng.random() < 0.5:
        return "", first, surname
    if country.family_first and (own or rng.random() < 0.4):
        return (surname + first if country.joined and own else f"{surname} {first}"), "", ""
    return f"{first} {surname}", "", ""
