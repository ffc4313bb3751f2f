"""What is a phone number, what is refused, and that all spellings end in one."""

import phonenumbers
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from watchword.core.errors import InvalidArgument, Reason
from watchword.core.phone import (
    KNOWN_REGIONS,
    LineType,
    PhoneNumber,
    parse_phone,
)

TEXTS = {
    "must be a phone number: + and country code, or a national number with region_code",
    "numbers of this kind are never called or texted",
    "must be a region of ISO 3166-1, two capitals",
}


def refusal(text: str, region_code: str = "") -> InvalidArgument:
    with pytest.raises(InvalidArgument) as caught:
        parse_phone(text, region_code)
    return caught.value


@pytest.mark.parametrize(
    ("e164", "region_code", "spellings"),
    [
        (
            "+14155552671",
            "US",
            [
                "+1 (415) 555-2671",
                "+1-415-555-2671",
                "+1.415.555.2671",
                "+1 1 415 555 2671",
                "tel:+1-415-555-2671",
                "TEL:+14155552671",
                "(415) 555-2671",
                "1 415 555 2671",
                "14155552671",
                "011 1 415 555 2671",
            ],
        ),
        ("+447400123456", "GB", ["+44 (0) 7400 123456", "07400 123456", "+44 0 7400 123456"]),
        ("+33612345678", "FR", ["06 12 34 56 78", "+33 (0)6 12 34 56 78", "0033 612345678"]),
        ("+390612345678", "IT", ["06 1234 5678", "+39 06 12345678", "+39 (0)6 12345678"]),
        ("+393123456789", "IT", ["312 345 6789", "+39 312 345 6789"]),
        ("+79123456789", "RU", ["8 912 345 67 89", "+7 8 912 345-67-89", "89123456789"]),
        (
            "+5491123456789",
            "AR",
            [
                "+54 9 11 2345-6789",
                "+54 11 2345-6789",
                "+54 11 15 2345-6789",
                "+54 011 15 2345 6789",
                "011 15 2345-6789",
                "11 2345 6789",
                "9 11 2345 6789",
                "+541123456789",
            ],
        ),
        ("+5492214123456", "AR", ["+54 221 412 3456", "0221 15 412 3456", "+54 9 221 412 3456"]),
        (
            "+525512345678",
            "MX",
            [
                "+52 1 55 1234 5678",
                "+5215512345678",
                "+52 55 1234 5678",
                "044 55 1234 5678",
                "045 55 1234 5678",
                "01 55 1234 5678",
                "1 55 1234 5678",
                "+52 044 55 1234 5678",
                "+52 01 55 1234 5678",
            ],
        ),
        ("+3780549886377", "SM", ["+378 886377", "+39 0549 886377", "0549 886377"]),
        ("+5511912345678", "BR", ["011 91234-5678", "+55 0 15 11 91234 5678", "(11) 91234-5678"]),
        ("+36201234567", "HU", ["06 20 123 4567", "+36 06 20 123 4567"]),
    ],
)
def test_c041_spellings_of_one_number_end_in_one_form(
    e164: str, region_code: str, spellings: list[str]
) -> None:
    for text in [e164, *spellings]:
        number = parse_phone(text, region_code)
        assert (number.e164, number.region_code) == (e164, region_code), text


@pytest.mark.parametrize(
    "text",
    [
        "+14155552671;ext=1",
        "+1415555 2671 x12",
        "+14155552671,1",
        "+14155552671#1",
        "tel:+14155552671;ext=1",
        "tel:+14155552671;isub=1",
        "tel:415-555-2671;phone-context=+1",
        "tel:4155552671",
        "tel:tel:+14155552671",
        "+1415555\u200b2671",
        "\u202a+14155552671\u202c",
        "\ufeff+14155552671",
        "+1\u00a0415\u00a05552671",
        "+1415555\u00ad2671",
        "+1415555\u20602671",
        "+14155552671\n",
        "\t+14155552671",
        "+1415\x005552671",
        "++14155552671",
        "+ +14155552671",
    ],
)
def test_c041_what_has_no_one_form_is_refused(text: str) -> None:
    error = refusal(text, "US")
    assert (error.reason, error.field) == (Reason.FIELD_INVALID, "phone_number")


def test_c041_an_argentine_number_means_the_same_in_every_spelling() -> None:
    with_nine, without = parse_phone("+5491123456789"), parse_phone("+541123456789")
    assert with_nine == without
    assert with_nine.line_type is without.line_type is LineType.MOBILE


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+",
        " ",
        "4155552671",
        "abc",
        "+1415FLOWERS",
        "1-800-FLOWERS",
        "123",
        "+123",
        "+1234567890123456",
        "+4912345678901234567",
        "+04155552671",
        "+0014155552671",
        "+999123456789",
        "+14155552671' --",
        "+1415555' --",
        "+14155552671 +14155552672",
        "+14155552671/2672",
        "+14155552671,+14155552672",
        "+141555526714155552672",
        "+1415555267\N{PILE OF POO}",
        "\N{FULLWIDTH PLUS SIGN}14155552671",
        "+1415555267\N{FULLWIDTH DIGIT ONE}",
        "+1415555267\N{ARABIC-INDIC DIGIT ONE}",
        "+1415555267\N{SUPERSCRIPT TWO}",
        "+1415555267\N{MATHEMATICAL BOLD DIGIT ONE}",
        "+1 000 000 0000",
        "+1 415 155 2671",
        "+44 07",
        "1e5",
        "-14155552671",
        "+1" + "4155552671" * 100_000,
        " " * 1_000_000,
        "(" * 32,
        "+1" + "-" * 30,
    ],
)
@pytest.mark.parametrize("region_code", ["", "ZW"])
def test_c056_malformed_numbers_are_refused(text: str, region_code: str) -> None:
    error = refusal(text, region_code)
    assert (error.reason, error.field) == (Reason.FIELD_INVALID, "phone_number")
    assert error.message in TEXTS


@pytest.mark.parametrize(
    ("text", "region_code"),
    [
        ("+1 900 234 5678", ""),
        ("+44 909 012 3456", ""),
        ("+49 900 1234567", ""),
        ("0900 1234567", "DE"),
        ("+1 800 555 0199", ""),
        ("+44 844 412 3456", ""),
        ("+44 7640 123456", ""),
        ("+44 55 1234 5678", ""),
        ("+1 911", ""),
        ("+1911", "US"),
        ("40404", "US"),
    ],
)
def test_c056_numbers_of_a_refused_kind(text: str, region_code: str) -> None:
    assert refusal(text, region_code).reason is Reason.NUMBER_NOT_ALLOWED


@pytest.mark.parametrize(
    ("line_type", "refused"),
    [
        (phonenumbers.PhoneNumberType.PREMIUM_RATE, True),
        (phonenumbers.PhoneNumberType.SHARED_COST, True),
        (phonenumbers.PhoneNumberType.TOLL_FREE, True),
        (phonenumbers.PhoneNumberType.PAGER, True),
        (phonenumbers.PhoneNumberType.UAN, True),
        (phonenumbers.PhoneNumberType.VOICEMAIL, True),
        (phonenumbers.PhoneNumberType.MOBILE, False),
        (phonenumbers.PhoneNumberType.VOIP, False),
        (phonenumbers.PhoneNumberType.PERSONAL_NUMBER, False),
    ],
)
def test_c056_every_region_s_example_of_a_kind(line_type: int, refused: bool) -> None:
    seen = 0
    for region in sorted(KNOWN_REGIONS):
        number = phonenumbers.example_number_for_type(region, line_type)
        if number is None or phonenumbers.number_type(number) != line_type:
            continue
        seen += 1
        text = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
        if refused:
            assert refusal(text).reason is Reason.NUMBER_NOT_ALLOWED, text
        else:
            assert parse_phone(text).line_type not in (LineType.UNKNOWN, LineType.PAGER)
    assert seen > 5


def test_c056_every_region_s_mobile_number_is_accepted_in_each_format() -> None:
    formats = phonenumbers.PhoneNumberFormat
    for region in sorted(KNOWN_REGIONS):
        number = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
        if number is None:
            continue
        e164 = parse_phone(phonenumbers.format_number(number, formats.E164)).e164
        for form in (formats.INTERNATIONAL, formats.NATIONAL):
            text = phonenumbers.format_number(number, form).replace("/", " ")
            assert parse_phone(text, region).e164 == e164, (region, text)


EMERGENCY = ["112", "911", "119", "999", "000", "110", "111", "113", "108", "100", "15", "101"]


@pytest.mark.parametrize("digits", EMERGENCY)
def test_c057_emergency_numbers_are_refused_in_every_region_and_form(digits: str) -> None:
    for region in sorted(KNOWN_REGIONS):
        code = phonenumbers.country_code_for_region(region)
        for text in (
            digits,
            " ".join(digits),
            f"0{digits}",
            f"+{code}{digits}",
            f"00{code}{digits}",
        ):
            error = refusal(text.strip(), region)
            assert error.reason in (Reason.FIELD_INVALID, Reason.NUMBER_NOT_ALLOWED)


@pytest.mark.parametrize(
    ("digits", "region_code"), [("911", "US"), ("112", "DE"), ("119", "JP"), ("999", "GB")]
)
def test_c057_emergency_numbers_are_named_as_not_allowed(digits: str, region_code: str) -> None:
    code = phonenumbers.country_code_for_region(region_code)
    assert refusal(digits, region_code).reason is Reason.NUMBER_NOT_ALLOWED
    assert refusal(f"+{code} {digits}").reason is Reason.NUMBER_NOT_ALLOWED


@pytest.mark.parametrize(
    "text",
    [
        "+870 773111632",
        "+870773111632",
        "+881 612345678",
        "+8816",
        "+882 16 12345678",
        "+883 5100 12345678",
        "+888 12345678901",
        "+979 123456789",
        "+800 12345678",
        "+808 12345678",
        "+878 101234567890",
        "tel:+800-1234-5678",
        "00 800 1234 5678",
    ],
)
def test_c057_calling_codes_without_a_country_are_refused(text: str) -> None:
    assert refusal(text, "DE").reason is Reason.NUMBER_NOT_ALLOWED


@pytest.mark.parametrize(
    "region_code", ["us", "USA", "U", "XX", "001", "ZZ", "\uff35\uff33", "U\n"]
)
def test_a_region_that_is_none_is_named(region_code: str) -> None:
    error = refusal("+14155552671", region_code)
    assert (error.reason, error.field) == (Reason.FIELD_INVALID, "region_code")


def test_a_refusal_names_the_callers_own_field() -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_phone("nonsense", field="contact.phone_number")
    assert caught.value.field == "contact.phone_number"


def attempt(text: str, region_code: str) -> tuple[PhoneNumber | None, InvalidArgument | None]:
    try:
        return parse_phone(text, region_code), None
    except InvalidArgument as error:
        return None, error


phone_like = st.text("+0123456789 ().-", max_size=34)
digits_like = st.from_regex(r"\+[1-9][0-9]{5,16}", fullmatch=True)


@settings(max_examples=600, deadline=None)
@given(
    text=st.one_of(st.text(max_size=40), phone_like, digits_like),
    region_code=st.sampled_from(["", *sorted(KNOWN_REGIONS)]),
)
@example(text="+5215512345678", region_code="")
@example(text="+541123456789", region_code="")
@example(text="+390549886377", region_code="")
@example(text="+447700900123", region_code="")
def test_any_text_is_a_canonical_number_or_a_fixed_refusal(text: str, region_code: str) -> None:
    number, error = attempt(text, region_code)
    if number is None:
        assert error is not None
        assert error.message in TEXTS
        assert error.field == "phone_number"
        assert error.__cause__ is None
        assert error.__context__ is None
        return
    again = parse_phone(number.e164)
    assert again == number
    assert (again.region_code, again.line_type) == (number.region_code, number.line_type)
    assert number.region_code in KNOWN_REGIONS
