"""How a number hides itself, and which numbers nobody has."""

import copy
import pickle

import pytest

from watchword.core.errors import InvalidArgument
from watchword.core.phone import LineType, PhoneNumber, is_fictitious, lookup, parse_phone


def test_a_number_never_shows_itself() -> None:
    number = parse_phone("+14155552671")
    shown = [
        repr(number),
        str(number),
        f"{number}",
        f"{number!r:>40}",
        f"{[number]}",
        f"{number:x}",
    ]
    assert not any("555" in text or "2671" in text for text in shown)
    for copier in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            copier(number)
    assert "2671" not in f"{lookup('+14155552671')}"


def test_the_hint_shows_calling_code_and_two_digits() -> None:
    assert parse_phone("+14155552671").hint == "+1 •••••••71"
    assert parse_phone("+3545812345").hint == "+354 •••••••45"


def test_numbers_are_equal_by_their_canonical_form() -> None:
    number = parse_phone("(415) 555-2671", "US")
    stored = PhoneNumber("+14155552671", "US", LineType.FIXED_LINE_OR_MOBILE)
    assert number == stored
    assert hash(number) == hash(stored)
    assert number != parse_phone("+14155552672")
    assert number != "+14155552671"


@pytest.mark.parametrize(
    "text",
    [
        "+12025550100",
        "+14165550199",
        "+447700900000",
        "+447700900999",
        "07700 900461",
        "+61491570006",
        "+61491570110",
        "+61491570159",
    ],
)
def test_fictitious_numbers_are_accepted_and_known(text: str) -> None:
    number = parse_phone(text, "GB")
    assert is_fictitious(number)
    assert number.line_type in (LineType.MOBILE, LineType.FIXED_LINE_OR_MOBILE)


@pytest.mark.parametrize(
    "text",
    [
        "+12025550200",
        "+12025550099",
        "+12025560100",
        "+447911123456",
        "+61491570007",
        "+61412345678",
    ],
)
def test_other_numbers_are_not_fictitious(text: str) -> None:
    assert not is_fictitious(parse_phone(text))


def test_the_drama_range_ends_where_the_regulator_says() -> None:
    assert parse_phone("+447700900123").region_code == "GB"
    for text in ("+4477009000000", "+44770090000", "+447700901000"):
        with pytest.raises(InvalidArgument):
            parse_phone(text)
    assert not is_fictitious(parse_phone("+447700899999"))
