"""The account's caps: exact within a window, anew in the next, never by a step back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.core.errors import Reason, ResourceExhausted
from watchword.core.ports import DAY, HOUR, MINUTE
from watchword.fraud.budget import AccountBudget, AccountCaps, charge, current, recharge

# An even hour and day.
NOW = 1_800_000_000_000 // DAY * DAY
NEVER = AccountBudget()
CAPS = AccountCaps(sends_per_hour=3, sends_per_day=5)


def charged(count: int, now: int, budget: AccountBudget = NEVER) -> AccountBudget:
    for _ in range(count):
        budget = charge(budget, CAPS, now)
    return budget


def refused(budget: AccountBudget, now: int) -> int | None:
    with pytest.raises(ResourceExhausted) as refusal:
        charge(budget, CAPS, now)
    assert refusal.value.reason is Reason.ACCOUNT_BUDGET_EXHAUSTED
    return refusal.value.retry_after


def test_an_hour_bears_its_cap_and_the_next_one_begins_anew() -> None:
    budget = charged(3, NOW + MINUTE)
    assert refused(budget, NOW + MINUTE) == HOUR - MINUTE
    assert charged(1, NOW + HOUR, budget)[:4] == (NOW + HOUR, 1, NOW, 4)


def test_a_day_bears_its_cap() -> None:
    budget = charged(2, NOW + HOUR, charged(3, NOW))
    assert refused(budget, NOW + HOUR) == DAY - HOUR
    assert charged(1, NOW + DAY, budget)[:4] == (NOW + DAY, 1, NOW + DAY, 1)


def test_a_step_back_opens_no_window() -> None:
    budget = charged(3, NOW + HOUR)
    assert refused(budget, NOW) == 2 * HOUR
    assert current(budget, NOW - DAY) == budget


def test_a_repeat_is_charged_within_the_caps_of_the_last_send() -> None:
    budget = charged(2, NOW)
    repeated = recharge(budget, NOW)
    assert repeated is not None
    assert repeated.hour_used == 3
    assert recharge(repeated, NOW) is None
    assert recharge(AccountBudget(), NOW) is None


@given(st.lists(st.integers(0, 3 * HOUR), max_size=80))
def test_no_window_is_ever_exceeded(gaps: list[int]) -> None:
    budget, now, sent = AccountBudget(), NOW, []
    for gap in gaps:
        now += gap
        try:
            budget = charge(budget, CAPS, now)
        except ResourceExhausted:
            continue
        sent.append(now)
    for window, cap in ((HOUR, 3), (DAY, 5)):
        for start in {time - time % window for time in sent}:
            assert sum(start <= time < start + window for time in sent) <= cap
