"""Limits per phone: how often it is sent to and how often it may be guessed at.

Pure arithmetic over the times of past events. A time that lies in the future (the
clock stepped back) counts as now, so that a step never refills a budget and never
stretches a wait beyond its window.
"""

from typing import NamedTuple

from watchword.core.errors import Reason, ResourceExhausted
from watchword.core.ports import DAY, HOUR, SECOND, Millis

THIRTY_DAYS: Millis = 30 * DAY
KNOWN_BINDING_TTL: Millis = 90 * DAY


class PhoneLimits(NamedTuple):
    """What one phone may cost and risk; every number has hard bounds (`BOUNDS`)."""

    sends_per_hour: int = 5
    sends_per_day: int = 10
    first_cooldown: Millis = 30 * SECOND
    wrong_guesses_per_day: int = 10
    wrong_guesses_kept_for_known: int = 3
    wrong_guesses_in_a_row: int = 100


BOUNDS: dict[str, tuple[int, int]] = {
    "sends_per_hour": (1, 10),
    "sends_per_day": (1, 20),
    "first_cooldown": (10 * SECOND, HOUR),
    "wrong_guesses_per_day": (1, 20),
    "wrong_guesses_kept_for_known": (0, 10),
    "wrong_guesses_in_a_row": (10, 100),
}

# Guesses that follow each other without a wait: the attempts of one verification.
_FREE_GUESSES = 5
_FIRST_WAIT = 30 * SECOND
_LONGEST_WAIT = HOUR
_COOLDOWN_STEPS = 2


def check_bounds(limits: PhoneLimits) -> None:
    """Raise `ValueError` naming the first limit outside its hard bounds."""
    for name, (low, high) in BOUNDS.items():
        if not low <= getattr(limits, name) <= high:
            raise ValueError(f"limits.{name} must lie between {low} and {high}")


def cooldown(sends: int, first: Millis) -> Millis:
    """Return the wait after the `sends`-th send: `first`, doubled for each further one, twice."""
    return first << min(max(sends - 1, 0), _COOLDOWN_STEPS)


SendTimes = tuple[Millis, ...]
"""Times of the sends of the last day that no approval followed, oldest first."""


def recent(times: SendTimes, now: Millis, window: Millis) -> SendTimes:
    """Return the times inside the window that ends now; future times count as now."""
    # Most phones have none.
    return tuple(min(t, now) for t in times if t > now - window) if times else ()


def next_send_time(times: SendTimes, now: Millis, limits: PhoneLimits) -> tuple[Millis, Reason]:
    """Return when the next send to this phone may start, and which limit says so."""
    day = recent(times, now, DAY)
    if not day:
        return now, Reason.SEND_COOLDOWN
    waits = [(day[-1] + cooldown(len(day), limits.first_cooldown), Reason.SEND_COOLDOWN)]
    hour = recent(day, now, HOUR)
    if len(hour) >= limits.sends_per_hour:
        waits.append((hour[-limits.sends_per_hour] + HOUR, Reason.SEND_BUDGET_EXHAUSTED))
    if len(day) >= limits.sends_per_day:
        waits.append((day[-limits.sends_per_day] + DAY, Reason.SEND_BUDGET_EXHAUSTED))
    return max(waits)


def send_refusal(times: SendTimes, now: Millis, limits: PhoneLimits) -> ResourceExhausted | None:
    """Return why this phone may not be sent to now, or None."""
    when, reason = next_send_time(times, now, limits)
    if when <= now:
        return None
    return ResourceExhausted(
        "this phone was sent to too often", reason=reason, retry_after=when - now
    )


def bears_repeat(times: SendTimes, now: Millis, limits: PhoneLimits) -> bool:
    """Tell whether a message in doubt may be sent again: the budgets hold, no cool-down does."""
    return (
        len(recent(times, now, HOUR)) < limits.sends_per_hour
        and len(recent(times, now, DAY)) < limits.sends_per_day
    )


def with_send(times: SendTimes, now: Millis) -> SendTimes:
    """Return the times with a send made now; drops what is older than a day."""
    return (*recent(times, now, DAY), now)


class GuessGuard(NamedTuple):
    """Wrong guesses at the codes of one (application, phone).

    `wrong` holds the times of the last 30 days, one entry a comparison; `in_a_row`
    counts since the last approval; `approved` tells whether there ever was one;
    `rebind_time` is when a requested re-bind takes effect (0: none).
    """

    wrong: tuple[Millis, ...] = ()
    in_a_row: int = 0
    approved: bool = False
    rebind_time: Millis = 0


def rebound(guard: GuessGuard, now: Millis) -> GuessGuard:
    """Return the guard after a re-bind that has come due; it refills no daily budget."""
    if not guard.rebind_time or now < guard.rebind_time:
        return guard
    kept = recent(guard.wrong, now, DAY)
    return guard._replace(wrong=kept, in_a_row=len(kept), rebind_time=0)


def hard_stopped(guard: GuessGuard, now: Millis, limits: PhoneLimits) -> bool:
    """Tell whether only a re-bind can open this phone again (NIST SP 800-63B §5.2.2)."""
    guard = rebound(guard, now)
    return guard.approved and guard.in_a_row >= limits.wrong_guesses_in_a_row


def guess_refusal(
    guard: GuessGuard, *, known: bool, now: Millis, limits: PhoneLimits
) -> ResourceExhausted | None:
    """Return why no code of this phone may be compared now, or None.

    `known` callers (their binding was approved in the last 90 days) may use the whole
    daily budget, others all but the part that is kept for the known.
    """
    guard = rebound(guard, now)
    if hard_stopped(guard, now, limits):
        return _guesses_exhausted(None)
    day = recent(guard.wrong, now, DAY)
    until = max(
        _month_end(guard, now, limits), _day_end(day, known=known, limits=limits), _wait_end(day)
    )
    return _guesses_exhausted(until - now) if until > now else None


def guesses_left(guard: GuessGuard, *, known: bool, now: Millis, limits: PhoneLimits) -> int:
    """Return how many more comparisons may go wrong today."""
    return max(0, _allowed(known=known, limits=limits) - len(recent(guard.wrong, now, DAY)))


def with_wrong(guard: GuessGuard, charge: int, now: Millis) -> GuessGuard:
    """Return the guard after `charge` comparisons that went wrong."""
    guard = rebound(guard, now)
    wrong = recent(guard.wrong, now, THIRTY_DAYS) + (now,) * charge
    return guard._replace(wrong=wrong, in_a_row=guard.in_a_row + charge)


def with_approval(guard: GuessGuard, now: Millis) -> GuessGuard:
    """Return the guard after an approval: the row of failures ends, the day's budget stays."""
    wrong = recent(guard.wrong, now, THIRTY_DAYS)
    return GuessGuard(wrong=wrong, approved=True)


def _allowed(*, known: bool, limits: PhoneLimits) -> int:
    kept = 0 if known else limits.wrong_guesses_kept_for_known
    return max(1, limits.wrong_guesses_per_day - kept)


def _month_end(guard: GuessGuard, now: Millis, limits: PhoneLimits) -> Millis:
    month = recent(guard.wrong, now, THIRTY_DAYS)
    if guard.approved or len(month) < limits.wrong_guesses_in_a_row:
        return 0
    return month[-limits.wrong_guesses_in_a_row] + THIRTY_DAYS


def _day_end(day: SendTimes, *, known: bool, limits: PhoneLimits) -> Millis:
    allowed = _allowed(known=known, limits=limits)
    return day[-allowed] + DAY if len(day) >= allowed else 0


def _wait_end(day: SendTimes) -> Millis:
    extra = len(day) - _FREE_GUESSES
    if extra < 0:
        return 0
    return day[-1] + int(min(_FIRST_WAIT << extra, _LONGEST_WAIT))


def _guesses_exhausted(retry_after: Millis | None) -> ResourceExhausted:
    return ResourceExhausted(
        "too many wrong codes for this phone",
        reason=Reason.GUESS_BUDGET_EXHAUSTED,
        retry_after=retry_after,
    )
