"""Limits on a phone: waits between sends, budgets of wrong guesses, and clocks that step."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.core.errors import Reason
from watchword.core.ports import DAY, HOUR, MINUTE, SECOND
from watchword.fraud import limits
from watchword.fraud.limits import THIRTY_DAYS, GuessGuard, PhoneLimits

NOW = 1_800_000_000_000
LIMITS = PhoneLimits()


def refusal(guard: GuessGuard, now: int, *, known: bool = False) -> int | None:
    found = limits.guess_refusal(guard, known=known, now=now, limits=LIMITS)
    return None if found is None else found.retry_after


def wrong(*ages: int) -> GuessGuard:
    return GuessGuard(wrong=tuple(NOW - age for age in ages), in_a_row=len(ages))


def test_the_defaults_lie_within_the_hard_bounds() -> None:
    limits.check_bounds(LIMITS)


@pytest.mark.parametrize("name", list(limits.BOUNDS))
def test_c008_no_limit_can_be_switched_off(name: str) -> None:
    low, high = limits.BOUNDS[name]
    limits.check_bounds(LIMITS._replace(**{name: low}))
    limits.check_bounds(LIMITS._replace(**{name: high}))
    for outside in (low - 1, high + 1, 10**9):
        with pytest.raises(ValueError, match=name):
            limits.check_bounds(LIMITS._replace(**{name: outside}))


@pytest.mark.parametrize(("sends", "wait"), [(1, 30), (2, 60), (3, 120), (4, 120), (50, 120)])
def test_waits_between_sends_grow_to_two_minutes(sends: int, wait: int) -> None:
    assert limits.cooldown(sends, 30 * SECOND) == wait * SECOND


@pytest.mark.parametrize(
    ("ages", "wait", "reason"),
    [
        ((), 0, Reason.SEND_COOLDOWN),
        ((0,), 30 * SECOND, Reason.SEND_COOLDOWN),
        ((30 * SECOND,), 0, Reason.SEND_COOLDOWN),
        ((MINUTE, 0), MINUTE, Reason.SEND_COOLDOWN),
        (
            (50 * MINUTE, 40 * MINUTE, 30 * MINUTE, 20 * MINUTE, 10 * MINUTE),
            10 * MINUTE,
            Reason.SEND_BUDGET_EXHAUSTED,
        ),
        (tuple(DAY - n * 2 * HOUR - HOUR for n in range(10)), HOUR, Reason.SEND_BUDGET_EXHAUSTED),
    ],
)
def test_when_a_phone_may_be_sent_to(ages: tuple[int, ...], wait: int, reason: Reason) -> None:
    times = tuple(NOW - age for age in ages)
    assert limits.next_send_time(times, NOW, LIMITS)[0] - NOW <= wait
    found = limits.send_refusal(times, NOW, LIMITS)
    if wait == 0:
        assert found is None
    else:
        assert found is not None
        assert (found.reason, found.retry_after) == (reason, wait)


@given(
    st.lists(st.integers(-2 * DAY, 0), max_size=12).map(sorted),
    st.integers(-DAY, DAY),
)
def test_a_wait_ends_when_it_says(ages: list[int], step: int) -> None:
    times = tuple(NOW + age for age in ages)
    now = NOW + step
    found = limits.send_refusal(times, now, LIMITS)
    if found is not None:
        assert found.retry_after is not None
        assert 0 < found.retry_after <= DAY
        if step >= 0:
            assert limits.send_refusal(times, now + found.retry_after, LIMITS) is None
            assert limits.send_refusal(times, now + found.retry_after - 1, LIMITS) is not None


@given(st.lists(st.integers(0, 30 * MINUTE), min_size=1, max_size=60))
def test_sends_never_exceed_either_window(gaps: list[int]) -> None:
    now, sent = NOW, []
    times: limits.SendTimes = ()
    for gap in gaps:
        now += gap
        if limits.send_refusal(times, now, LIMITS) is None:
            times = limits.with_send(times, now)
            sent.append(now)
    for end in sent:
        assert sum(end - HOUR < t <= end for t in sent) <= LIMITS.sends_per_hour
        assert sum(end - DAY < t <= end for t in sent) <= LIMITS.sends_per_day


def test_a_clock_that_steps_back_refills_nothing() -> None:
    times = tuple(NOW - n * MINUTE for n in (9, 7, 5, 3, 1))
    earlier = NOW - HOUR
    found = limits.send_refusal(times, earlier, LIMITS)
    assert found is not None
    assert found.retry_after is not None
    assert found.retry_after <= HOUR
    guard = wrong(*[MINUTE] * 10)
    assert refusal(guard, earlier) is not None


def test_five_guesses_are_free_then_each_waits_longer() -> None:
    waits = [refusal(GuessGuard(wrong=(NOW,) * n), NOW, known=True) for n in range(4, 10)]
    assert waits == [None] + [s * SECOND for s in (30, 60, 120, 240, 480)]


def test_c009_the_wait_is_an_hour_at_most() -> None:
    loose = LIMITS._replace(wrong_guesses_per_day=20)
    guard = GuessGuard(wrong=(NOW,) * 19)
    found = limits.guess_refusal(guard, known=True, now=NOW, limits=loose)
    assert found is not None
    assert found.retry_after == HOUR


def test_part_of_the_budget_is_kept_for_the_known() -> None:
    guard = wrong(*[2 * HOUR] * 7)
    assert refusal(guard, NOW) == DAY - 2 * HOUR
    assert refusal(guard, NOW, known=True) is None
    assert limits.guesses_left(guard, known=False, now=NOW, limits=LIMITS) == 0
    assert limits.guesses_left(guard, known=True, now=NOW, limits=LIMITS) == 3
    full = wrong(*[2 * HOUR] * 10)
    assert refusal(full, NOW, known=True) == DAY - 2 * HOUR


@given(
    st.lists(st.tuples(st.integers(0, 2 * HOUR), st.booleans()), min_size=1, max_size=120),
    st.booleans(),
)
def test_c003_guesses_never_exceed_the_day(tries: list[tuple[int, bool]], approved: bool) -> None:
    guard, now, compared = GuessGuard(approved=approved), NOW, []
    for gap, known in tries:
        now += gap
        if limits.guess_refusal(guard, known=known, now=now, limits=LIMITS) is None:
            guard = limits.with_wrong(guard, 1, now)
            compared.append(now)
    for end in compared:
        assert sum(end - DAY < t <= end for t in compared) <= LIMITS.wrong_guesses_per_day


def test_c013_a_hundred_in_a_row_stop_an_approved_phone_for_good() -> None:
    guard = GuessGuard(in_a_row=100, approved=True)
    assert limits.hard_stopped(guard, NOW + 400 * DAY, LIMITS)
    found = limits.guess_refusal(guard, known=True, now=NOW, limits=LIMITS)
    assert found is not None
    assert found.retry_after is None


def test_c013_a_success_ends_the_row_and_keeps_the_day() -> None:
    guard = limits.with_approval(wrong(*[MINUTE] * 9), NOW)
    assert (guard.in_a_row, guard.approved, len(guard.wrong)) == (0, True, 9)
    assert limits.guesses_left(guard, known=True, now=NOW, limits=LIMITS) == 1


def test_c013_a_phone_never_approved_is_limited_for_thirty_days() -> None:
    ages = tuple(sorted((n * 6 * HOUR + DAY for n in range(100)), reverse=True))
    guard = wrong(*ages)
    assert not limits.hard_stopped(guard, NOW, LIMITS)
    assert refusal(guard, NOW) == THIRTY_DAYS - ages[0]
    assert refusal(guard, NOW + THIRTY_DAYS - ages[0]) is None


def test_a_rebind_works_at_its_time_and_refills_no_day() -> None:
    guard = GuessGuard(
        wrong=(NOW - 2 * DAY,) * 93 + (NOW - HOUR,) * 7,
        in_a_row=100,
        approved=True,
        rebind_time=NOW,
    )
    assert limits.hard_stopped(guard, NOW - 1, LIMITS)
    assert not limits.hard_stopped(guard, NOW, LIMITS)
    after = limits.rebound(guard, NOW)
    assert (after.in_a_row, len(after.wrong), after.rebind_time) == (7, 7, 0)
    assert refusal(guard, NOW) == DAY - HOUR


def test_a_repeat_needs_room_in_the_budgets_and_no_cooldown() -> None:
    assert limits.bears_repeat((NOW,), NOW, LIMITS)
    assert not limits.bears_repeat((NOW,) * 5, NOW, LIMITS)
    assert limits.bears_repeat((NOW - HOUR,) * 5, NOW, LIMITS)
    assert not limits.bears_repeat((NOW - HOUR,) * 10, NOW, LIMITS)
