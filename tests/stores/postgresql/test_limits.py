"""The arithmetic of limits and budgets in SQL gives what the model's gives."""

import random
from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest

from watchword.core.errors import ResourceExhausted
from watchword.core.ports import DAY, HOUR, MINUTE, SECOND
from watchword.fraud import budget, limits
from watchword.fraud.budget import AccountBudget, AccountCaps
from watchword.fraud.limits import THIRTY_DAYS, GuessGuard, PhoneLimits
from watchword.testing.clock import START
from watchword_adapters.stores.postgresql.columns import guard_of

CASES = 400
SPANS = (0, 1, SECOND, 30 * SECOND, MINUTE, HOUR - 1, HOUR, 5 * HOUR, DAY, 8 * DAY, THIRTY_DAYS)


@pytest.fixture
async def db(dsn: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(dsn)
    yield connection
    await connection.close()


class Draw:
    """Draws what the functions are given; edges are more likely than chance has them."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def times(self) -> tuple[int, ...]:
        count = self._random.choice((0, 0, 1, 2, 3, 4, 5, 6, 7, 9, 12, 30))
        # Some lie in the future: clocks step back.
        return tuple(sorted(START - self.span() for _ in range(count)))

    def span(self) -> int:
        span = self._random.choice(SPANS)
        return self._random.choice((span, -MINUTE, self._random.randrange(span + 1)))

    def limits(self) -> PhoneLimits:
        draw = self._random.randrange
        return PhoneLimits(
            draw(1, 11), draw(1, 21), draw(10, 90) * SECOND, draw(1, 21), draw(11), draw(5, 20)
        )

    def guard(self) -> GuessGuard:
        rebind = self._random.choice((0, 0, START, START - HOUR, START + HOUR))
        return GuessGuard(self.times(), self._random.randrange(20), self.known(), rebind)

    def known(self) -> bool:
        return self._random.random() < 0.5

    def budget(self) -> AccountBudget:
        hour, day = START - self.span(), START - self.span()
        used = [self._random.randrange(4) for _ in range(4)]
        return AccountBudget(hour - hour % HOUR, used[0], day - day % DAY, used[1], *used[2:])

    def caps(self) -> AccountCaps:
        return AccountCaps(self._random.randrange(1, 5), self._random.randrange(1, 5))


Answers = tuple[object, object]


def composite(guard: GuessGuard) -> tuple[object, ...]:
    return ("AP1", b"p", *guard, 0)


async def sends(db: "asyncpg.Connection[asyncpg.Record]", draw: Draw) -> Answers:
    times, own = draw.times(), draw.limits()
    row = await db.fetchrow(
        "SELECT n.until, n.reason, watchword.bears_repeat($1, $2, $3),"
        " watchword.with_send($1, $2) FROM watchword.next_send($1, $2, $3) AS n",
        times,
        START,
        own,
    )
    assert row is not None
    until, reason = limits.next_send_time(times, START, own)
    repeat = limits.bears_repeat(times, START, own)
    return tuple(row), (until, str(reason), repeat, list(limits.with_send(times, START)))


async def guesses(db: "asyncpg.Connection[asyncpg.Record]", draw: Draw) -> Answers:
    guard, own, known, charge = draw.guard(), draw.limits(), draw.known(), 1 + draw.known()
    row = await db.fetchrow(
        "SELECT watchword.guesses_left($1, $2, $3, $4), watchword.hard_stopped($1, $3, $4),"
        " watchword.with_wrong($1, $5, $3), watchword.with_approval($1, $3), r.until, r.reason"
        " FROM watchword.guess_refusal($1, $2, $3, $4) AS r",
        composite(guard),
        known,
        START,
        own,
        charge,
    )
    assert row is not None
    refusal = limits.guess_refusal(guard, known=known, now=START, limits=own)
    wait = row["until"] - START if row["until"] and row["reason"] else None
    given = (row[0], row[1], guard_of(row[2][2:6]), guard_of(row[3][2:6]), row["reason"], wait)
    return given, (
        limits.guesses_left(guard, known=known, now=START, limits=own),
        limits.hard_stopped(guard, START, own),
        limits.with_wrong(guard, charge, START),
        limits.with_approval(guard, START),
        refusal and "GUESSES",
        refusal and refusal.retry_after,
    )


async def budgets(db: "asyncpg.Connection[asyncpg.Record]", draw: Draw) -> Answers:
    used, caps = draw.budget(), draw.caps()
    row = await db.fetchrow(
        "SELECT c.budget, c.retry_after FROM watchword.charged($1, $2, $3, $4) AS c",
        ("AC1", *used),
        *caps,
        START,
    )
    assert row is not None
    given = (row["budget"] and tuple(row["budget"])[1:], row["retry_after"])
    try:
        return given, (tuple(budget.charge(used, caps, START)), None)
    except ResourceExhausted as refusal:
        return given, (None, refusal.retry_after)


@pytest.mark.parametrize("compare", [sends, guesses, budgets])
async def test_sql_gives_what_the_model_gives(
    db: "asyncpg.Connection[asyncpg.Record]", compare: Callable[..., object]
) -> None:
    for seed in range(CASES):
        given, expected = await compare(db, Draw(seed))  # type: ignore[misc]
        assert given == expected, f"seed {seed}"
