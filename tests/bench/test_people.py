"""The made-up people: all different, and everybody's number passes."""

import pytest

from watchword.cli.bench.people import MOST, phone_number
from watchword.core.phone import is_fictitious, parse_phone


def test_numbers_are_valid_and_of_no_test() -> None:
    for person in (*range(64), *range(0, MOST, 99_991), MOST - 1):
        parsed = parse_phone(phone_number(person))
        assert parsed.e164 == phone_number(person)
        assert not is_fictitious(parsed)


def test_numbers_differ() -> None:
    people = (*range(10_000), *range(MOST - 10_000, MOST))
    assert len({phone_number(person) for person in people}) == len(people)


def test_there_are_only_so_many() -> None:
    with pytest.raises(ValueError, match="no such person"):
        phone_number(MOST)
