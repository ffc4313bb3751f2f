"""The checker and the specification: histories whose verdict anybody can see."""

from typing import Any

import pytest
from tests.linearizability.checker import NEVER, UNKNOWN, Answer, Event, Undecided, check
from tests.linearizability.history import explained
from tests.linearizability.spec import Cancel, Check, Get, Resend, Start, Tick


def register(state: int, op: Any, answer: Answer | None) -> int | None:
    """A number that is written and read."""
    kind, value = op
    if kind == "write":
        return int(value)
    return state if answer in (UNKNOWN, (state,)) else None


def write(value: int, began: int, ended: int) -> Event:
    return Event(("write", value), ("ok",), began, ended)


def read(value: int, began: int, ended: int) -> Event:
    return Event(("read", 0), (value,), began, ended)


def lost(value: int, began: int) -> Event:
    return Event(("write", value), UNKNOWN, began, NEVER)


YES = {
    "nothing": [],
    "one after the other": [write(1, 1, 2), read(1, 3, 4)],
    "a read beside a write sees the old": [write(1, 1, 4), read(0, 2, 3)],
    "a read beside a write sees the new": [write(1, 1, 4), read(1, 2, 3)],
    "two writes at once, the later in the order wins": [
        write(1, 1, 4),
        write(2, 2, 3),
        read(1, 5, 6),
    ],
    "a write that nobody answered had its effect": [lost(1, 1), read(0, 2, 3), read(1, 4, 5)],
    "a write that nobody answered had none": [lost(1, 1), read(0, 2, 3), read(0, 4, 5)],
}
NO = {
    "a read after a write sees the old": [write(1, 1, 2), read(0, 3, 4)],
    "a value that nobody wrote": [write(1, 1, 2), read(2, 1, 4)],
    "new, then old again": [write(1, 1, 9), read(1, 2, 3), read(0, 4, 5)],
    "two readers that disagree on the order": [
        *(write(1, 1, 10), write(2, 1, 10)),
        *(read(1, 11, 12), read(2, 13, 14)),
    ],
    "an effect before its call": [read(1, 1, 2), lost(1, 3)],
    "an effect that comes and goes": [lost(1, 1), read(1, 2, 3), read(0, 4, 5)],
}


@pytest.mark.parametrize("events", YES.values(), ids=YES)
def test_a_register_that_is_linearizable(events: list[Event]) -> None:
    verdict = check(events, 0, register)
    assert verdict.linearizable
    state: int | None = 0
    for event in verdict.order:
        assert state is not None
        state = register(state, event.op, event.answer)
    assert state is not None


@pytest.mark.parametrize("events", NO.values(), ids=NO)
def test_a_register_that_is_not(events: list[Event]) -> None:
    assert not check(events, 0, register).linearizable


def test_what_is_too_much_is_told() -> None:
    # Twenty writes at once and a read of what nobody wrote: every order must be tried.
    events = [write(n, 1, 50) for n in range(1, 21)] + [read(99, 51, 52)]
    with pytest.raises(Undecided):
        check(events, 0, register, most=100)


STARTED = Event(Start("s", ""), ("started", "V"), 1, 2)


def checked(right: bool, answer: Answer, began: int, ended: int, name: str = "c") -> Event:
    return Event(Check(f"{name}{began}", "V", "", right), answer, began, ended)


def test_sixty_four_right_codes_at_once() -> None:
    used: Answer = ("rejected", "ALREADY_USED", 0)
    answers: list[Answer] = [used] * 40 + [("approved", "V")] + [used] * 23
    events = [STARTED]
    events += [checked(True, answer, 3, 4, f"c{n}-") for n, answer in enumerate(answers)]
    assert explained(events).linearizable
    twice = [*events, checked(True, ("approved", "V"), 3, 4, "again")]
    assert not explained(twice).linearizable


def test_wrong_codes_count_down_once_each() -> None:
    def history(remaining: list[int]) -> list[Event]:
        return [STARTED] + [
            checked(False, ("rejected", "WRONG_CODE", left), 3, 4, f"c{n}-")
            for n, left in enumerate(remaining)
        ]

    assert explained(history([2, 4, 0, 3, 1])).linearizable
    # A lost update: two guesses that were charged as one.
    assert not explained(history([4, 4, 3])).linearizable
    assert not explained(history([4, 2])).linearizable


def test_a_check_and_a_cancel_do_not_both_win() -> None:
    cancel = Event(Cancel("x", "V"), ("canceled",), 3, 6)
    approved = checked(True, ("approved", "V"), 4, 5)
    assert not explained([STARTED, cancel, approved]).linearizable
    refused = Event(Cancel("x", "V"), ("error", "VERIFICATION_CLOSED"), 3, 6)
    assert explained([STARTED, refused, approved]).linearizable


def test_a_request_has_one_effect() -> None:
    again = Event(Start("s", ""), ("started", "V"), 5, 6)
    assert explained([STARTED, again]).linearizable
    other = Event(Start("s", ""), ("started", "W"), 5, 6)
    assert not explained([STARTED, other]).linearizable


def test_a_start_that_nobody_answered_shows_later() -> None:
    unknown = Event(Start("s", ""), UNKNOWN, 1, NEVER)
    refused = Event(Start("t", ""), ("error", "SEND_COOLDOWN"), 3, 4)
    told = Event(Start("s", ""), ("started", "V"), 5, 6)
    seen = Event(Get("V"), ("read", "PENDING", 5, 1), 7, 8)
    assert explained([unknown, refused, told, seen]).linearizable
    twice = Event(Get("V"), ("read", "PENDING", 5, 2), 7, 8)
    assert not explained([unknown, refused, told, twice]).linearizable


def test_what_only_looks_alike_is_not_taken_for_the_same() -> None:
    # A Resend and a Cancel of one verification have equal fields.
    resend = Event(Resend("r", "V"), UNKNOWN, 3, NEVER)
    cancel = Event(Cancel("x", "V"), UNKNOWN, 4, NEVER)
    seen = Event(Get("V"), ("read", "CANCELED", 0, 1), 5, 6)
    assert explained([STARTED, resend, cancel, seen]).linearizable


def test_a_code_is_in_time_or_it_is_not() -> None:
    over = Event(Tick(600_000), ("ticked",), 3, 6)
    assert explained([STARTED, over, checked(True, ("approved", "V"), 4, 5)]).linearizable
    late: Answer = ("rejected", "EXPIRED", 0)
    assert explained([STARTED, over, checked(True, late, 4, 5)]).linearizable
    assert not explained([STARTED, over, checked(True, ("approved", "V"), 7, 8)]).linearizable
    assert not explained([STARTED, checked(True, late, 7, 8)]).linearizable
