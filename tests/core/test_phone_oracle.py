"""Our reading of numbering plans beside the library's own calls, on generated numbers."""

from collections.abc import Iterator
from random import Random

import phonenumbers
import pytest

from watchword.core import numbering
from watchword.core.errors import InvalidArgument, Reason
from watchword.core.phone import KNOWN_REGIONS, LineType, lookup, parse_phone

TYPES = {
    getattr(phonenumbers.PhoneNumberType, name): LineType(name) for name in LineType.__members__
}
REFUSED = {
    LineType.PREMIUM_RATE,
    LineType.SHARED_COST,
    LineType.TOLL_FREE,
    LineType.PAGER,
    LineType.UAN,
    LineType.VOICEMAIL,
}


def corpus() -> Iterator[str]:
    """Yield +digits: each region's examples, and what a few wrong digits make of them."""
    random = Random(20)
    for region in sorted(KNOWN_REGIONS):
        code = phonenumbers.country_code_for_region(region)
        for kind in TYPES:
            number = phonenumbers.example_number_for_type(region, kind)
            if number is None:
                continue
            nsn = phonenumbers.national_significant_number(number)
            yield f"+{code}{nsn}"
            for _ in range(4):
                yield f"+{code}{mutated(nsn, random)}"
        yield f"+{code}{random.randrange(10**6, 10**10)}"


def mutated(nsn: str, random: Random) -> str:
    digits = list(nsn)
    for _ in range(random.choice((1, 1, 2, 4))):
        digits[random.randrange(len(digits))] = random.choice("0123456789")
    prefix = random.choice(("", "", "", "0", "1", "8", "06", "9"))
    return prefix + "".join(digits)


CORPUS = sorted(set(corpus()))


def mended(text: str) -> bool:
    """Tell whether we read this number otherwise on purpose."""
    return text.startswith(("+52", "+54", "+390549", "+44077009", "+447700900"))


def test_parsing_equals_the_library_s_own_calls() -> None:
    assert len(CORPUS) > 5000
    accepted = 0
    for text in CORPUS:
        if mended(text):
            continue
        expected = plain(text)
        assert ours(text) == expected, text
        accepted += expected is not None and expected[0] != ""
    assert accepted > 1500


def plain(text: str) -> tuple[str, str, LineType] | None:
    """Return E.164, region and type by plain calls; blank if not allowed, None if invalid."""
    try:
        number = phonenumbers.parse(text, None)
    except phonenumbers.NumberParseException:
        return None
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    good = phonenumbers.is_possible_number(number) and phonenumbers.is_valid_number(number)
    if not good or len(e164) > 16:
        return None
    line_type = TYPES[phonenumbers.number_type(number)]
    if line_type in REFUSED:
        return "", "", line_type
    return e164, phonenumbers.region_code_for_number(number) or "", line_type


def ours(text: str) -> tuple[str, str, LineType] | None:
    try:
        number = parse_phone(text)
    except InvalidArgument as error:
        if error.reason is Reason.FIELD_INVALID or lookup(text).line_type is LineType.UNKNOWN:
            return None
        return "", "", lookup(text).line_type
    return number.e164, number.region_code, number.line_type


def test_lookup_equals_the_library_s_own_calls() -> None:
    for text in CORPUS[::7]:
        if mended(text):
            continue
        number = phonenumbers.parse(text, None)
        found = lookup(text)
        assert found.possible == phonenumbers.is_possible_number(number), text
        assert found.valid == phonenumbers.is_valid_number(number), text
        assert found.line_type is TYPES[phonenumbers.number_type(number)], text


def test_lookup_answers_for_possible_numbers_that_are_not_valid() -> None:
    found = lookup("+1 415 155 2671")
    assert (found.e164, found.possible, found.valid) == ("+14151552671", True, False)
    assert (found.line_type, found.carrier_name) == (LineType.UNKNOWN, "")


def test_lookup_answers_for_numbers_that_may_not_be_called() -> None:
    assert lookup("+1 900 234 5678").line_type is LineType.PREMIUM_RATE
    satellite = lookup("+870 773111632")
    assert (satellite.region_code, satellite.valid) == ("001", True)


def test_lookup_tells_carrier_and_time_zones() -> None:
    found = lookup("0491 570 156", "AU")
    assert found.e164 == "+61491570156"
    assert found.carrier_name == "Telstra"
    assert "Australia/Sydney" in found.time_zones


def test_lookup_of_an_impossible_number_has_no_form() -> None:
    found = lookup("+1 911")
    assert (found.e164, found.possible, found.valid) == ("", False, False)


@pytest.mark.parametrize("text", ["", "nonsense", "+999123456", "+1415555267x1", "1" * 33])
def test_lookup_refuses_what_is_no_number_at_all(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        lookup(text)
    assert caught.value.field == "phone_number"


def test_preloading_changes_no_answer() -> None:
    numbering.area.cache_clear()
    numbering.preload()
    assert parse_phone("+4915112345678").line_type is LineType.MOBILE


def test_calling_codes_begin_no_other() -> None:
    codes = {str(code) for code in numbering.REGIONS_BY_CODE}
    assert not any(a != b and b.startswith(a) for a in codes for b in codes)
