"""Names and addresses of many countries: pairs that are one, and pairs that are not."""

from __future__ import annotations

from typing import Any

import pytest

from firstring.identity.canonical.addresses import address_key
from firstring.identity.canonical.names import PersonName, name_of, parse
from firstring.identity.canonical.nicknames import related
from firstring.identity.canonical.record import canonical
from firstring.identity.canonical.text import fold
from firstring.identity.comparison.columns import compared


def compared_name(text: str) -> tuple[str, str]:
    """given and family key of 'Whole Name', 'Given|Family', either with ' @CC' for the country."""
    name, _, country = text.partition(" @")
    given, bar, family = name.partition("|")
    found = parse("" if bar else name, given if bar else "", "", family, "", country)
    return found.given_key, found.family_key or found.whole


@pytest.mark.parametrize(
    ("language", "one", "other"),
    [
        ("de", "Jürgen Müller", "Juergen Mueller"),
        ("de", "Jürgen Müller", "Jurgen Muller"),
        ("de", "Hans Groß", "Hans Gross"),
        ("de", "Ludwig van Beethoven", "Ludwig Beethoven"),
        ("de", "Otto von Bismarck", "Otto Von Bismarck"),
        ("de", "Uwe Schröder", "Uwe Schroeder"),
        ("nl", "Jan van der Berg", "Jan|van der Berg"),
        ("nl", "Jan van den Berg", "Jan Vanden Berg"),
        ("nl", "Daan ’t Hooft", "Daan t Hooft"),
        ("da", "Søren Kierkegaard", "Soeren Kierkegård"),
        ("no", "Bjørn Dæhlie", "Bjoern Daehlie"),
        ("sv", "Göran Ångström", "Goeran Angstrom"),
        ("is", "Jón|Einarsson", "Jon|Einarsdóttir"),
        ("pl", "Łukasz Kowalski", "Lukasz Kowalski"),
        ("pl", "Anna|Kowalska", "Anna|Kowalski"),
        ("pl", "Anna|Potocka", "Anna|Potocki"),
        ("cs", "Jana Nováková", "Jana|Novák"),
        ("cs", "Jana Novakova @CZ", "Jana Novak @CZ"),
        ("cs", "Eva|Černá @CZ", "Eva|Černý @CZ"),
        ("sk", "Eva|Svobodová @SK", "Eva|Svoboda @SK"),
        ("lt", "Ona|Kazlauskienė @LT", "Ona|Kazlauskas @LT"),
        ("lv", "Anna|Bērziņa @LV", "Anna|Bērziņš @LV"),
        ("tr", "Işıl Yılmaz", "Isil Yilmaz"),
        ("tr", "İbrahim Şahin", "Ibrahim Sahin"),
        ("vi", "Nguyễn Văn An @VN", "An Van Nguyen @VN"),
        ("vi", "Đặng Thị Hoa @VN", "Dang Thi Hoa @VN"),
        ("hu", "Nagy István @HU", "István Nagy @HU"),
        ("hu", "Szőke Ádám @HU", "Adam|Szoke @HU"),
        ("es", "María García López @ES", "Maria|Garcia Lopez @ES"),
        ("es", "José Luis García López @MX", "Jose|Garcia Lopez"),
        ("es", "José Luis García @MX", "Jose|Garcia"),
        ("es", "Ana González", "Ana Gonzales"),
        ("es", "María de la Cruz", "Maria Cruz"),
        ("pt", "João da Silva Santos @BR", "Joao|Silva Santos"),
        ("pt", "Maria Souza", "Maria Sousa"),
        ("fr", "Élodie Lefèvre", "Elodie Lefevre"),
        ("fr", "Charles de Gaulle", "Charles|Gaulle"),
        ("it", "Nicolò D’Angelo", "Nicolo Dangelo"),
        ("it", "Nicolò|D Angelo", "Nicolo Dangelo"),
        ("en", "Sean O’Brien", "Sean|O Brien"),
        ("en", "Ann McDonald", "Ann Mc Donald"),
        ("en", "Ann McDonald", "Ann MacDonald"),
        ("en", "Pádraig Ó Súilleabháin", "Padraig|O Suilleabhain"),
        ("ru", "Сергей Иванов", "Sergei Ivanov"),
        ("ru", "Sergey Ivanov", "Serguei Ivanoff"),
        ("ru", "Иванов Сергей Петрович", "Sergei Petrovich Ivanov"),
        ("ru", "Анна|Иванова", "Anna|Ivanov"),
        ("ru", "Юлия Достоевская", "Julia Dostoevsky"),
        ("ru", "Наталья Троцкая", "Natalia Trotsky"),
        ("ru", "Дмитрий Медведев", "Dmitri Medvedev"),
        ("uk", "Олександр Шевченко", "Oleksandr Shevchenko"),
        ("uk", "Сергій Гриценко", "Serhii Hrytsenko"),
        ("bg", "Георги Стоянов", "Georgi Stoyanov"),
        ("sr", "Новак Ђоковић", "Novak Djokovic"),
        ("el", "Γεώργιος Παπαδόπουλος", "Georgios Papadopoulos"),
        ("el", "Γεωργία Παπαδοπούλου", "Georgia Papadopoulou"),
        ("el", "Μαρία|Παπαδοπούλου", "Maria|Papadopoulos"),
        ("el", "Ελένη|Νικολάου @GR", "Eleni|Nikolaos @GR"),
        ("ar", "محمد الحسن", "Mohammed Al-Hassan"),
        ("ar", "Mohammad Al Hassan", "Mohamed Hasan"),
        ("ar", "يوسف خان", "Youssef Khan"),
        ("ar", "فاطمة حسين", "Fatima Hussain"),
        ("ar", "Ahmed bin Salman", "Ahmad Salman"),
        ("he", "דוד כהן", "David Cohen"),
        ("he", "Moshe Levy", "משה לוי"),
        ("hi", "मोहन शर्मा", "Mohan Sharma"),
        ("hi", "लक्ष्मी सिंह", "Laxmi Singh"),
        ("bn", "মোহাম্মদ হাসান", "Mohammad Hasan"),
        ("ta", "Deepak Iyer", "Dipak Aiyar"),
        ("ja", "山田 太郎", "Yamada Tarō @JP"),
        ("ja", "山田太郎", "Taro Yamada @JP"),
        ("ja", "さとう たろう", "Taro Sato"),
        ("ja", "佐藤太郎様", "Tarou Satou @JP"),
        ("ja", "サトウ ショウコ", "Shoko Sato"),
        ("ja", "ジョン・スミス", "Jon Sumisu"),
        ("ko", "김철수", "Chul-Soo Kim @KR"),
        ("ko", "김 철수", "Kim Cheolsu @KR"),
        ("ko", "박영희", "Pak Young Hee @KR"),
        ("ko", "남궁민", "Min|Namgung"),
        ("zh", "王小明", "Wang Xiaoming @CN"),
        ("zh", "王小明", "Xiao-Ming Wang @CN"),
        ("zh", "王小明先生", "Xiaoming Wang @CN"),
        ("zh", "歐陽娜娜", "欧阳娜娜"),
        ("zh", "曾 伟", "Wei Zeng"),
        ("id", "Suharto", "Suharto|FNU"),
    ],
)
def test_one_name_is_one_however_it_is_written(language: str, one: str, other: str) -> None:
    assert compared_name(one) == compared_name(other), language


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Anna Smith", "Anne Smith"),
        ("Jan de Vries", "Jan de Boer"),
        ("Maria García", "Mario García"),
        ("Sergei Ivanov", "Sergei Ivanchuk"),
        ("Mohammed Ali", "Mahmoud Ali"),
        ("Hassan Ali", "Hussein Ali"),
        ("王小明", "王小红"),
        ("김철수", "김영희"),
        ("山田太郎", "山本太郎"),
        ("David Lee", "David Li"),
        ("Samuel Park", "Sam Park"),
        ("Jon Medina", "Jon Molina"),
        ("Daniel Novak", "Daniela Novak"),
        ("Γεώργιος Παπαδόπουλος", "Γεωργία Παπαδοπούλου"),
        ("Kim Lee @KR", "Lee Kim"),
    ],
)
def test_different_names_stay_different(one: str, other: str) -> None:
    assert compared_name(one) != compared_name(other)


@pytest.mark.parametrize(
    ("formal", "short"),
    [
        ("francisco", "paco"), ("jose", "pepe"), ("ignacio", "nacho"), ("friedrich", "fritz"), ("hans", "johannes"),
        ("giuseppe", "beppe"), ("luigi", "gigi"), ("malgorzata", "gosia"), ("krzysztof", "krzysiek"),
        ("aleksandr", "sasha"), ("ekaterina", "katya"), ("dmitriy", "dima"), ("mariya", "masha"), ("joao", "joaozinho"),
        ("eduardo", "dudu"), ("cornelis", "kees"), ("konstantinos", "kostas"), ("istvan", "pista"), ("elisabeth", "lisa"),
        ("wilhelm", "willi"), ("guillaume", "guigui"), ("sergey", "seryozha"),
    ],
)  # fmt: skip
def test_short_forms_of_many_languages_are_related_to_their_names(formal: str, short: str) -> None:
    assert related(formal, short)
    assert related(short, formal)


def test_one_of_two_family_names_is_a_part_of_both() -> None:
    whole = parse("", "Maria", "", "Garcia Lopez", "", "ES").family_key.split()
    assert parse("", "Maria", "", "Garcia", "").family_key in whole
    assert parse("", "Maria", "", "García-López", "").family_key.split() == whole
    assert parse("", "Maria", "", "Garcia y Lopez", "").family_key.split() == whole


def test_what_is_shown_keeps_particles_and_the_written_spelling() -> None:
    found = parse("Jürgen von der Mühle", "", "", "", "")
    assert (found.given, found.family, found.family_key) == ("jurgen", "von der muhle", "muhle")


def test_the_parts_of_a_name_follow_the_country_of_the_record_only() -> None:
    fields: dict[str, Any] = {"full_name": "Nagy Istvan"}
    assert name_of(fields).family == "istvan"
    assert name_of({**fields, "country": "HU"}).family == "nagy"


def test_names_that_passports_put_for_none_are_none() -> None:
    assert parse("", "FNU", "", "LNU", "") == PersonName()


@pytest.mark.parametrize(
    ("text", "latin"),
    [
        ("Йордан", "yordan"), ("Щукин", "shchukin"), ("Київ", "kyiv"), ("Σωκράτης", "sokratis"), ("Ἀθηνᾶ", "athina"),
        ("がんだむ", "gandamu"), ("シャーロット", "sharotto"), ("ティファニー", "tifani"), ("ﾀﾛｳ", "taro"),
        ("東京", "dongjing"), ("서울", "seoul"), ("मुंबई", "munbai"), ("தமிழ்", "tamil"),
        ("ნინო", "nino"), ("Հայկ", "hayk"), ("۱۲۳", "123"),
        ("Łódź", "lodz"), ("Þór", "thor"), ("İstanbul", "istanbul"), ("ﬁn", "fin"), ("☎ Ann ☺", "ann"),
    ],
)  # fmt: skip
def test_text_of_other_scripts_gets_a_latin_key(text: str, latin: str) -> None:
    assert fold(text) == latin


@pytest.mark.parametrize(
    ("country", "one", "other"),
    [
        ("US", "12 Main Street", "12 Main St."),
        ("US", "12 East Main Street", "12 E Main St"),
        ("US", "12 Main St Apt 4B", "12 Main Street #4B"),
        ("US", "55 W 5th Ave Unit 3", "Unit 3, 55 West 5th Avenue"),
        ("US", "PO Box 123", "P.O. Box 123"),
        ("GB", "Flat 2, 10 High Street", "10 High St, Flat 2"),
        ("GB", "5 St. John's Road", "5 Saint Johns Rd"),
        ("DE", "Hauptstraße 12 a", "Hauptstr. 12A"),
        ("DE", "Max-Planck-Straße 3", "Max Planck Str. 3"),
        ("DE", "Postfach 12 34", "Postfach 1234"),
        ("AT", "Ringgasse 5/12", "Ringgasse 5 Top 12"),
        ("ES", "Calle Mayor, 5", "C/ Mayor 5"),
        ("ES", "Avda. de la Constitución 3", "Avenida de la Constitucion, 3"),
        ("ES", "C/ Mayor 5, 2º B", "Calle Mayor 5 piso 2B"),
        ("FR", "12, rue de la Paix", "12 r. de la Paix"),
        ("FR", "12 bis avenue Foch", "12bis av. Foch"),
        ("IT", "Via Roma, 12/B", "V. Roma 12/b"),
        ("IT", "Piazza Duomo 1", "P.za Duomo, 1"),
        ("PL", "ul. Długa 12/5", "ulica Dluga 12 m. 5"),
        ("PL", "al. Jana Pawła 3", "aleja Jana Pawla 3"),
        ("NL", "Kerkstraat 12", "Kerkstr. 12"),
        ("NL", "Postbus 55", "Postbus 55 "),
        ("BR", "Rua Augusta, 100", "R. Augusta 100"),
        ("RU", "ул. Ленина, 5 кв. 12", "ulitsa Lenina 5 kv 12"),
        ("SE", "Storgatan 5", "Storgatan  5"),
        ("", "Main Street 12", "12 Main St"),
    ],
)
def test_one_address_is_one_however_it_is_written(country: str, one: str, other: str) -> None:
    assert address_key("", "", one, country) == address_key("", "", other, country)


@pytest.mark.parametrize(
    ("country", "street", "number", "line"),
    [
        ("US", "Main Street", "12", "12 Main St"), ("DE", "Hauptstraße", "12a", "Hauptstr. 12 a"),
        ("ES", "Calle Mayor", "5", "C/ Mayor, 5"), ("PL", "Długa", "12/5", "Długa 12/5"),
        ("IT", "Via Roma", "12/B", "V. Roma 12/B"),
    ],
)  # fmt: skip
def test_parts_of_an_address_agree_with_its_line(country: str, street: str, number: str, line: str) -> None:
    assert address_key(street, number, "", country) == address_key("", "", line, country)


@pytest.mark.parametrize(
    ("country", "one", "other"),
    [
        ("US", "12 Main St", "13 Main St"), ("US", "12 Main St", "12 Main Ave"), ("US", "12 N Main St", "12 S Main St"),
        ("US", "12 Main St Apt 4", "12 Main St Apt 5"), ("DE", "Hauptstr. 12", "Hauptweg 12"),
        ("ES", "Calle Mayor 5", "Plaza Mayor 5"), ("US", "PO Box 12", "PO Box 13"), ("GB", "St John 5", "John Street 5"),
    ],
)  # fmt: skip
def test_different_addresses_stay_different(country: str, one: str, other: str) -> None:
    assert address_key("", "", one, country) != address_key("", "", other, country)


@pytest.mark.parametrize(
    ("country", "given", "expected"),
    [
        ("GB", "sw1a1aa", "SW1A 1AA"), ("NL", "1012ab", "1012 AB"), ("NL", "NL-1012 AB", "1012 AB"),
        ("CA", "k1a0b1", "K1A 0B1"), ("JP", "1000001", "100-0001"), ("JP", "〒100-0001", "100-0001"),
        ("JP", "１００－０００１", "100-0001"), ("BR", "01310100", "01310-100"), ("BR", "1310100", "01310-100"),
        ("IN", "110 001", "110001"), ("PL", "00950", "00-950"), ("PT", "1000205", "1000-205"), ("SE", "11455", "114 55"),
        ("DE", "1067", "01067"), ("DE", "D-01067", "D-01067"), ("US", "2134", "02134"),
        ("US", "02134-1000", "02134"), ("CH", "8001", "8001"),
    ],
)  # fmt: skip
def test_postcodes_follow_their_country(country: str, given: str, expected: str) -> None:
    assert canonical("postcode", given, country=country) == expected


@pytest.mark.parametrize(
    ("country", "given", "expected"),
    [
        ("GB", "020 7946 0018", "+442079460018"), ("GB", "07911 123456", "+447911123456"),
        ("NL", "06-12345678", "+31612345678"), ("CA", "(613) 555-0123", "+16135550123"),
        ("JP", "090-3456-7182", "+819034567182"), ("JP", "０９０－３４５６－７１８２", "+819034567182"),
        ("BR", "(11) 91234-5678", "+5511912345678"), ("BR", "011 91234-5678", "+5511912345678"),
        ("IN", "098331 20457", "+919833120457"), ("IN", "+91 98331 20457", "+919833120457"),
        ("IT", "06 1234 5678", "+390612345678"), ("RU", "8 (912) 345-67-89", "+79123456789"),
        ("MX", "55 1234 5678", "+525512345678"),
    ],
)  # fmt: skip
def test_national_phone_numbers_follow_their_country(country: str, given: str, expected: str) -> None:
    assert canonical("phone", given, country=country) == expected


def test_what_is_compared_uses_the_keys() -> None:
    one = compared({"full_name": "Jürgen Müller", "address": "Hauptstraße 12 a", "country": "DE"})
    other = compared(
        {"given_name": "Juergen", "family_name": "Mueller", "street": "Hauptstr.", "house_number": "12a", "country": "DE"}
    )
    assert one == other
