"""Maps: read and checked, or guessed from names and values."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from firstring.bulk.files.mapping import NOT_LOADED, FieldMap, guess_map, load_map, mapped
from firstring.errors import BadInput
from firstring.identity.canonical.fields import FIELDS, is_attribute
from firstring.identity.canonical.synonyms import SYNONYMS, bare

DOCUMENT = Path(__file__).parents[2] / "docs" / "importing.md"


def fields_of(fields: FieldMap) -> dict[str, str]:
    return {choice.column: choice.field for choice in fields.choices}


def map_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "map.toml"
    path.write_text(text, "utf-8")
    return path


# --- a map of one's own ------------------------------------------------------------------------------------------


def test_a_map_gives_columns_fields_and_leaves_the_rest_out(tmp_path: Path) -> None:
    path = map_file(
        tmp_path,
        '[fields]\nnr = "record_id"\n"Tel 1" = "phone"\n"Tel 2" = "phone"\nborn = "birth_date"\nfavourite = "colour"\n'
        '[options]\ncountry = "NL"\ndate_format = "%d/%m/%Y"\n',
    )
    fields = load_map(path, ["nr", "Tel 1", "Tel 2", "born", "favourite", "secret"])
    assert fields_of(fields)["secret"] == NOT_LOADED
    assert (fields.country, fields.has_record_id) == ("NL", True)
    cells = {
        "nr": "7",
        "Tel 1": "020 1",
        "Tel 2": ["020 2", "020 3"],
        "born": "03/04/1970",
        "favourite": "red",
        "secret": "x",
    }
    assert mapped(cells, fields) == {
        "record_id": "7",
        "phone": ["020 1", "020 2", "020 3"],
        "birth_date": "1970-04-03",
        "colour": "red",
    }
    assert mapped({"born": "sometime"}, fields) == {"birth_date": "sometime"}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[fields\n", "map_malformed"),
        ("", "map_malformed"),
        ("[fields]\n", "map_malformed"),
        ("[fields]\nname = 3\n", "map_malformed"),
        ('[fields]\nname = "full_name"\n[colours]\n', "map_malformed"),
        ('[fields]\nname = "attributes"\n', "map_malformed"),
        ('[fields]\nnmae = "full_name"\n', "map_unknown_column"),
        ('[fields]\nname = "full_name"\nother = "full_name"\n', "map_field_twice"),
        ('[fields]\nname = "full_name"\n[options]\ncolour = "red"\n', "map_unknown_option"),
        ('[fields]\nname = "full_name"\n[options]\ncountry = "Holland"\n', "map_malformed"),
        ('[fields]\nname = "full_name"\n[options]\ndate_format = "%H"\n', "map_malformed"),
    ],
)
def test_a_wrong_map_is_refused(tmp_path: Path, text: str, code: str) -> None:
    with pytest.raises(BadInput) as refused:
        load_map(map_file(tmp_path, text), ["name", "other"])
    assert refused.value.code == code
    assert refused.value.hint


def test_an_unknown_column_names_the_one_that_was_meant(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as refused:
        load_map(map_file(tmp_path, '[fields]\n"E-mail" = "email"\n'), ["Email", "Name"])
    assert "'Email'" in refused.value.hint
    sparse = load_map(map_file(tmp_path, '[fields]\n"mail" = "email"\n'), ["name"], all_columns_known=False)
    assert any("no row of the sample" in note for note in sparse.notes)


def test_a_field_that_is_nearly_one_is_pointed_out(tmp_path: Path) -> None:
    fields = load_map(map_file(tmp_path, '[fields]\nname = "ful_name"\n'), ["name"])
    assert any("full_name" in note for note in fields.notes)
    assert any("no record_id" in note for note in fields.notes)


def test_missing_and_mis_encoded_maps(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as missing:
        load_map(tmp_path / "none.toml", ["name"])
    assert missing.value.code == "map_missing"
    path = tmp_path / "map.toml"
    path.write_bytes(b'[fields]\nn = "\xff"\n')
    with pytest.raises(BadInput) as garbled:
        load_map(path, ["n"])
    assert garbled.value.code == "map_malformed"


# --- a guess -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "row", "expected"),
    [
        (
            ["unique_id", "first_name", "surname", "dob", "city", "email", "cluster"],
            ["0", "Robert", "Alan", "1971-06-24", "", "robert255@smith.net", "0"],
            ["record_id", "given_name", "family_name", "birth_date", "city", "email", "cluster"],
        ),
        (
            ["Kundennummer", "Vorname", "Nachname", "Geburtsdatum", "PLZ", "Ort", "Straße", "Telefon", "E-Mail-Adresse"],
            ["K17", "Jürgen", "Groß", "24.06.1971", "10115", "Berlin", "Am Zirkus", "030 12345678", "j@gross.de"],
            ["record_id", "given_name", "family_name", "birth_date", "postcode", "city", "street", "phone", "email"],
        ),
        (
            ["klantnummer", "voornaam", "achternaam", "geboortedatum", "postcode", "woonplaats", "mobiel", "telefoon"],
            ["1", "Jan", "de Vries", "1971-06-24", "1012 AB", "Amsterdam", "0612345678", "020-1234567"],
            ["record_id", "given_name", "family_name", "birth_date", "postcode", "city", "phone", "phone"],
        ),
        (
            ["customerId", "firstName", "lastName", "phoneNumber1", "phoneNumber2", "postalCode", "lastSeenAt", "twitter"],
            ["c1", "Ann", "Lee", "+442079460991", "+442079460992", "SW1A 1AA", "2026-01-01", "@ann"],
            ["record_id", "given_name", "family_name", "phone", "phone", "postcode", "last_seen", "social_twitter"],
        ),
        (
            ["id", "nom", "prénom", "date de naissance", "code postal", "courriel", "téléphone", "customer_id"],
            ["1", "Dupont", "Zoé", "1971-06-24", "75001", "zoe@dupont.fr", "01 23 45 67 89", "A1"],
            ["record_id", "family_name", "given_name", "birth_date", "postcode", "email", "phone", "account"],
        ),
        (["who", "reach", "write"], ["Ann", "+44 20 7946 0991", "ann@lee.org"], ["who", "phone", "email"]),
        (["name", "phone", "mail"], ["Ann", "ask reception", "none yet"], ["full_name", "phone_", "mail_"]),
    ],
)
def test_columns_are_recognised_by_name_and_value(columns: list[str], row: list[str], expected: list[str]) -> None:
    cells = {column: value for column, value in zip(columns, row, strict=True) if value}
    assert [choice.field for choice in guess_map(columns, [cells]).choices] == expected


def test_a_column_of_ids_that_repeat_is_no_record_id() -> None:
    fields = guess_map(["id", "name"], [{"id": "1", "name": "Ann"}, {"id": "1", "name": "Bob"}])
    assert not fields.has_record_id
    assert any("no record_id" in note for note in fields.notes)


def test_a_file_without_people_is_refused() -> None:
    with pytest.raises(BadInput) as refused:
        guess_map(["id", "colour"], [{"id": "1", "colour": "red"}])
    assert refused.value.code == "nothing_recognised"


def test_a_guess_shown_as_toml_and_given_back_is_the_same_map(tmp_path: Path) -> None:
    columns = ['the "id"', "na\\me", "Straße", "mail"]
    guessed = guess_map(columns, [{'the "id"': "1", "na\\me": "Ann", "Straße": "Mall", "mail": "ann@lee.org"}])
    text = guessed.as_toml()
    assert tomllib.loads(text)["fields"] == fields_of(guessed)
    assert fields_of(load_map(map_file(tmp_path, text), columns)) == fields_of(guessed)


def test_every_synonym_is_bare_and_means_a_field() -> None:
    for spelling, field in SYNONYMS.items():
        assert spelling == bare(spelling)
        assert field in FIELDS or not is_attribute(field)


def test_the_documentation_lists_every_field() -> None:
    text = DOCUMENT.read_text("utf-8")
    missing = [name for name, field in FIELDS.items() if f"| `{name}` |" not in text or field.description not in text]
    assert missing == []


def test_the_map_of_the_documentation_is_one(tmp_path: Path) -> None:
    text = DOCUMENT.read_text("utf-8")
    example = text.split("```toml file=customers.toml\n", 1)[1].split("```", 1)[0]
    columns = list(tomllib.loads(example)["fields"])
    assert load_map(map_file(tmp_path, example), columns).has_record_id
