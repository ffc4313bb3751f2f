"""Ids: their form, their order, and what a verification id carries."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.core.ids import (
    epoch_of,
    is_id,
    new_id,
    new_verification_id,
    parse_verification_id,
    send_id_of,
)
from watchword.core.ports import DAY
from watchword.testing.clock import START
from watchword.testing.entropy import SeededEntropy

TIMES = st.integers(0, 2**47)


@given(now=TIMES)
def test_an_id_has_the_form_of_its_prefix_only(now: int) -> None:
    made = new_id("AC", now, SeededEntropy())
    assert len(made) >= 2 + 26
    assert is_id("AC", made)
    assert not is_id("AP", made)
    assert not is_id("AC", made.upper())


@given(times=st.lists(TIMES, min_size=2, max_size=5))
def test_ids_sort_by_time(times: list[int]) -> None:
    entropy = SeededEntropy()
    made = [new_id("AC", time, entropy) for time in sorted(set(times))]
    assert made == sorted(made)
    verifications = [new_verification_id(time, 6, entropy) for time in sorted(set(times))]
    assert verifications == sorted(verifications)


@given(
    now=st.integers(0, 2**48 - 1),
    length=st.integers(6, 10),
    fixed=st.booleans(),
    renewable=st.booleans(),
)
def test_a_verification_id_carries_epoch_and_code_form(
    now: int, length: int, fixed: bool, renewable: bool
) -> None:
    made = new_verification_id(now, length, SeededEntropy(), fixed=fixed, renewable=renewable)
    assert parse_verification_id(made) == (epoch_of(now), length, fixed, renewable)


def test_ids_of_one_moment_differ() -> None:
    entropy = SeededEntropy()
    made = {new_verification_id(START, 6, entropy) for _ in range(1_000)}
    assert len(made) == 1_000


def test_a_send_is_named_after_its_verification() -> None:
    first, second = sorted(
        new_verification_id(time, 6, SeededEntropy()) for time in (START, START + 1)
    )
    made = [send_id_of(made, number) for made in (first, second) for number in (1, 2, 5)]
    assert made == sorted(set(made))
    assert [send.startswith(f"SE{first[2:]}") for send in made] == [True] * 3 + [False] * 3
    assert {len(send) for send in made} == {2 + 40 + 2}


GOOD = new_verification_id(START, 6, SeededEntropy())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "VE",
        GOOD[:-1],
        GOOD + "0",
        GOOD + "\n",
        " " + GOOD,
        GOOD.lower(),
        GOOD.upper(),
        "CH" + GOOD[2:],
        GOOD[:-1] + "g",
        GOOD[:-1] + "\u0660",
        GOOD[:-1] + "\x00",
    ],
)
def test_c021_nothing_but_the_exact_id_parses(text: str) -> None:
    assert parse_verification_id(text) is None


def test_an_epoch_is_a_utc_day() -> None:
    assert epoch_of(0) == 0
    assert epoch_of(DAY - 1) == 0
    assert epoch_of(DAY) == 1
