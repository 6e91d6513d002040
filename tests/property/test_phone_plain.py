"""The short way to plain phone numbers finds what the library finds, for every country."""

from __future__ import annotations

import random

import phonenumbers

from firstring.identity.canonical import contactpoints

_COUNTRIES = sorted(phonenumbers.SUPPORTED_REGIONS)


def _by_library(text: str, country: str) -> str | None:
    """E.164 of a possible number."""
    try:
        number = phonenumbers.parse(text, country or None)
    except phonenumbers.NumberParseException:
        return None
    if phonenumbers.is_possible_number_with_reason(number) != phonenumbers.ValidationResult.IS_POSSIBLE:
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _written(random_: random.Random, country: str) -> str:
    """A number as people write it: an example of the country in some form, or digits at random."""
    example = phonenumbers.example_number_for_type(
        country, random_.choice((phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE))
    )
    if example is None or random_.random() < 0.4:
        digits = "".join(random_.choice("0123456789") for _ in range(random_.randint(7, 14)))
        return random_.choice(("+", "", "0", "00", "(0)", "1")) + digits
    form = random_.choice(
        (
            phonenumbers.PhoneNumberFormat.E164,
            phonenumbers.PhoneNumberFormat.NATIONAL,
            phonenumbers.PhoneNumberFormat.INTERNATIONAL,
        )
    )
    text = phonenumbers.format_number(example, form)
    digits = [place for place, char in enumerate(text) if char.isdigit()]
    place = random_.choice(digits[len(digits) // 2 :])
    return text[:place] + random_.choice("0123456789") + text[place + 1 :]


def test_what_is_plain_is_what_the_library_says() -> None:
    random_ = random.Random(7)
    plain = 0
    for _ in range(20_000):
        country = random_.choice(_COUNTRIES)
        text = _written(random_, random_.choice((country, random_.choice(_COUNTRIES))))
        country = random_.choice((country, "US", "GB", "DE", ""))
        found = contactpoints._plain_phone(text, country)
        if found is not None:
            plain += 1
            assert found == _by_library(text, country), (text, country)
            assert contactpoints.phone(text, country) == found
    assert plain > 4_000, "else nothing has been tested"
