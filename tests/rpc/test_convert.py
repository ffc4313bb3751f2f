"""Checks of a field's form: what passes, what is refused, and that no value is told."""

import string

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from watchword.core.errors import InvalidArgument
from watchword.rpc import convert
from watchword.rpc.convert import PageTokens
from watchword.tenancy.model import Caller

CALLER = Caller("AC1", "AP1", "CR1", frozenset())
TOKENS = PageTokens(b"k" * 32)
LAST = 253_402_300_799


@pytest.mark.parametrize("text", ["", "a", "~" * 64, "550e8400-e29b-41d4-a716-446655440000"])
def test_c066_request_ids_that_pass(text: str) -> None:
    assert convert.check_request_id(text) == text


@pytest.mark.parametrize("text", ["a" * 65, "a\n", "\x00", "é", "٣", "\x7f", "a" * 10**6])
def test_c066_request_ids_that_do_not(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        convert.check_request_id(text, "x.request_id")
    assert caught.value.field == "x.request_id"
    assert text not in caught.value.message


@pytest.mark.parametrize(
    ("asked", "given"), [(0, 50), (1, 1), (100, 100), (101, 100), (2**31 - 1, 100)]
)
def test_page_sizes(asked: int, given: int) -> None:
    assert convert.page_size(asked) == given


def test_a_negative_page_size_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        convert.page_size(-1)


@given(cursor=st.text("0123456789abcdefVE", max_size=60))
def test_a_page_token_comes_back(cursor: str) -> None:
    token = TOKENS.seal(CALLER, "List", cursor)
    assert TOKENS.open(CALLER, "List", token) == cursor


@pytest.mark.parametrize(
    ("caller", "method", "filters"),
    [
        (CALLER._replace(account_id="AC2"), "List", ("a",)),
        (CALLER._replace(application_id="AP2"), "List", ("a",)),
        (CALLER, "Other", ("a",)),
        (CALLER, "List", ("b",)),
        (CALLER, "List", ()),
        (CALLER._replace(account_id="AC", application_id="1AP1"), "List", ("a",)),
    ],
)
def test_a_page_token_serves_who_got_it(
    caller: Caller, method: str, filters: tuple[str, ...]
) -> None:
    token = TOKENS.seal(CALLER, "List", "VE1", "a")
    assert TOKENS.open(CALLER, "List", token, "a") == "VE1"
    with pytest.raises(InvalidArgument):
        TOKENS.open(caller, method, token, *filters)


@pytest.mark.parametrize("token", ["a", "é", "=" * 8, "A" * 600, "!!!!", "AAAA"])
def test_a_made_up_page_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        TOKENS.open(CALLER, "List", token)
    assert caught.value.field == "page_token"


@pytest.mark.parametrize("cursor", ["VE1", "VE12", "VE123"])
def test_every_letter_of_a_page_token_counts(cursor: str) -> None:
    token = TOKENS.seal(CALLER, "List", cursor)
    letters = string.ascii_letters + string.digits + "-_+/="
    changed = {
        token[:place] + letter + token[place + 1 :]
        for place in range(len(token))
        for letter in letters
    }
    cut = {token[:length] for length in range(1, len(token))}
    for forged in {*changed, *cut, token + "A", token + "=", f" {token}"} - {token}:
        with pytest.raises(InvalidArgument) as caught:
            TOKENS.open(CALLER, "List", forged)
        assert caught.value.field == "page_token"


def test_another_key_s_page_token_is_refused() -> None:
    token = PageTokens(b"o" * 32).seal(CALLER, "List", "VE1")
    with pytest.raises(InvalidArgument):
        TOKENS.open(CALLER, "List", token)


@given(millis=st.integers(-62_135_596_800_000, LAST * 1000 + 999))
def test_times_come_back(millis: int) -> None:
    assert convert.from_timestamp(convert.to_timestamp(millis), "t") == millis


@pytest.mark.parametrize(
    ("seconds", "nanos"),
    [(LAST + 1, 0), (-62_135_596_801, 0), (2**63 - 1, 0), (0, -1), (0, 10**9), (-(2**63), 0)],
)
def test_c067_times_out_of_range_are_refused(seconds: int, nanos: int) -> None:
    value = Timestamp()
    value.seconds, value.nanos = seconds, nanos
    with pytest.raises(InvalidArgument):
        convert.from_timestamp(value, "t")


@pytest.mark.parametrize(
    ("seconds", "nanos"), [(-1, 0), (0, -1), (315_576_000_001, 0), (2**63 - 1, 0), (0, 10**9)]
)
def test_c067_durations_out_of_range_are_refused(seconds: int, nanos: int) -> None:
    value = Duration()
    value.seconds, value.nanos = seconds, nanos
    with pytest.raises(InvalidArgument):
        convert.from_duration(value, "d")


@pytest.mark.parametrize("number", [0, 3, -1, 2**31 - 1])
def test_enum_numbers_that_mean_nothing_are_refused(number: int) -> None:
    assert convert.enum_value(1, {1: "a"}, "e") == "a"
    with pytest.raises(InvalidArgument):
        convert.enum_value(number, {0: "z", 1: "a"}, "e")


def test_what_is_required_must_be_there() -> None:
    assert convert.require("x", "f") == "x"
    with pytest.raises(InvalidArgument):
        convert.require("", "f")
