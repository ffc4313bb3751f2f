"""The account's own cap on sends: fixed windows of the UTC hour and the UTC day."""

from typing import NamedTuple

from watchword.core.errors import Reason, ResourceExhausted
from watchword.core.ports import DAY, HOUR, Millis


class AccountCaps(NamedTuple):
    """Sends that an account may cause in a clock hour and in a UTC day."""

    sends_per_hour: int = 1_000
    sends_per_day: int = 10_000


class AccountBudget(NamedTuple):
    """What an account has used of its caps; `*_start` are the windows' beginnings.

    `hour_cap` and `day_cap` are the caps of the last charge: a doubtful message may be
    repeated only within them.
    """

    hour_start: Millis = 0
    hour_used: int = 0
    day_start: Millis = 0
    day_used: int = 0
    hour_cap: int = 0
    day_cap: int = 0


def current(budget: AccountBudget, now: Millis) -> AccountBudget:
    """Return the budget with windows that have ended opened anew; a window never moves back."""
    hour, day = now - now % HOUR, now - now % DAY
    if hour > budget.hour_start:
        budget = budget._replace(hour_start=hour, hour_used=0)
    if day > budget.day_start:
        budget = budget._replace(day_start=day, day_used=0)
    return budget


def charge(budget: AccountBudget, caps: AccountCaps, now: Millis) -> AccountBudget:
    """Return the budget after one more send.

    Raises `ResourceExhausted` (ACCOUNT_BUDGET_EXHAUSTED) where a cap is reached.
    """
    budget = current(budget, now)
    if budget.day_used >= caps.sends_per_day:
        raise _exhausted(budget.day_start + DAY - now)
    if budget.hour_used >= caps.sends_per_hour:
        raise _exhausted(budget.hour_start + HOUR - now)
    return AccountBudget(
        hour_start=budget.hour_start,
        hour_used=budget.hour_used + 1,
        day_start=budget.day_start,
        day_used=budget.day_used + 1,
        hour_cap=caps.sends_per_hour,
        day_cap=caps.sends_per_day,
    )


def recharge(budget: AccountBudget, now: Millis) -> AccountBudget | None:
    """Return the budget after repeating a message in doubt, or None where no cap bears it."""
    try:
        return charge(budget, AccountCaps(budget.hour_cap, budget.day_cap), now)
    except ResourceExhausted:
        return None


def _exhausted(retry_after: Millis) -> ResourceExhausted:
    return ResourceExhausted(
        "the account's send budget is used up",
        reason=Reason.ACCOUNT_BUDGET_EXHAUSTED,
        retry_after=retry_after,
    )
