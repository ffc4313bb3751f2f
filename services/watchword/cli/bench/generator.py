"""The generator: a process of its own that makes load by order and checks every reply.

Orders come as lines of JSON on stdin, `{"do": …}`, and each is answered by one line on
stdout; the first line is a `Profile` with the two endpoints.
"""

import asyncio
import gc
import json
import sys
from collections.abc import Awaitable, Callable
from secrets import SystemRandom
from time import perf_counter, process_time
from typing import Any

import uvloop

from watchword.cli.bench.load import Empties, Verifications, WrongReply
from watchword.cli.bench.site import Profile
from watchword.cli.bench.statistics import latency
from watchword.cli.bench.wire import CallFailed, Connection, connect

CONNECTIONS = 4
_COLLECTOR = (50_000, 20, 100)
_ABANDONED = 20

Work = Callable[[], Awaitable[None]]


async def closed_loop(work: Work, in_flight: int, seconds: float) -> int:
    """Keep `in_flight` pieces of work going for `seconds`; returns how many were done.

    What had begun is finished: nothing is left over for the next stretch.
    """
    until = perf_counter() + seconds
    done = 0

    async def worker() -> None:
        nonlocal done
        while perf_counter() < until:
            await work()
            done += 1

    await asyncio.gather(*(worker() for _ in range(in_flight)))
    return done


async def counted(work: Work, in_flight: int, count: int) -> None:
    """Do `count` pieces of work, `in_flight` at a time."""
    left = count

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await work()

    await asyncio.gather(*(worker() for _ in range(in_flight)))


async def open_loop(works: tuple[Work, ...], rate: float, seconds: float) -> list[list[float]]:
    """Begin each of `works` `rate` times a second, whether or not earlier ones are done.

    The gaps are exponential, as of people who know nothing of each other. Returns for
    each kind of work the seconds from when a piece was due to its end: a late beginning
    counts as waiting.
    """
    times: list[list[float]] = [[] for _ in works]
    chance = SystemRandom()
    begin = perf_counter()
    running: set[asyncio.Task[None]] = set()

    async def one(kind: int, due: float) -> None:
        await works[kind]()
        times[kind].append(perf_counter() - due)

    due, turn = begin, 0
    while due < begin + seconds:
        wait = due - perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        task = asyncio.create_task(one(turn % len(works), due))
        running.add(task)
        task.add_done_callback(lambda done: running.discard(done) if _fine(done) else None)
        turn += 1
        due += chance.expovariate(rate * len(works))
    await asyncio.gather(*running)
    return times


class Generator:
    """Carries out orders."""

    def __init__(self, empties: Empties, verifications: Verifications) -> None:
        """Work with connections that are open."""
        self._empties = empties
        self._verifications = verifications
        self._begun = 0

    async def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        """Carry out one order; returns what it came to, the generator's own CPU included."""
        cpu, began = process_time(), perf_counter()
        answer = await self._do(order)
        counts = self._verifications.counts
        return answer | {
            "seconds": perf_counter() - began,
            "cpu": process_time() - cpu,
            "checked": counts.checked + self._empties.counts.checked,
            "approved": counts.approved,
            "sent": counts.sent,
        }

    async def _do(self, order: dict[str, Any]) -> dict[str, Any]:
        verifications = self._verifications
        match order["do"]:
            case "fill":
                await counted(verifications.start, order["in_flight"], order["count"])
                return {"done": order["count"]}
            case "verify":
                done = await closed_loop(
                    verifications.complete, order["in_flight"], order["seconds"]
                )
            case "empty":
                done = await closed_loop(self._empties.call, order["in_flight"], order["seconds"])
            case "many":
                await counted(self._mostly_complete, order["in_flight"], order["count"])
                done = order["count"]
            case "pace":
                return await self._pace(order["rate"], order["seconds"])
            case unknown:
                raise WrongReply(f"no such order: {unknown}")
        return {"done": done}

    async def _pace(self, rate: float, seconds: float) -> dict[str, Any]:
        works = (self._verifications.start, self._verifications.check)
        starts, checks = await open_loop(works, rate, seconds)
        return {
            "done": len(checks),
            "start": latency(starts)._asdict(),
            "check": latency(checks)._asdict(),
        }

    async def _mostly_complete(self) -> None:
        """Complete one, and now and then begin one more that is left to the sweeper."""
        self._begun += 1
        await self._verifications.complete()
        if self._begun % _ABANDONED == 0:
            await self._verifications.start(abandon=True)


async def serve() -> None:
    """Obey until stdin ends; the first fault is told and is the end."""
    first = await _line()
    profile = Profile(**first["profile"])
    generator = Generator(
        Empties(await _connections(first["empty"]), first["empty"], profile),
        Verifications(await _connections(first["server"]), first["server"], profile),
    )
    gc.freeze()
    gc.set_threshold(*_COLLECTOR)
    _say({"ready": True})
    while order := await _line():
        try:
            _say(await generator.obey(order))
        except (CallFailed, WrongReply) as fault:
            _say({"error": f"a reply was wrong: {fault}"})
            return


def _fine(task: "asyncio.Task[None]") -> bool:
    return not task.cancelled() and task.exception() is None


async def _connections(endpoint: str) -> list[Connection]:
    return [await connect(endpoint) for _ in range(CONNECTIONS)]


async def _line() -> dict[str, Any]:
    line = await asyncio.to_thread(sys.stdin.readline)
    return dict(json.loads(line)) if line else {}


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)  # noqa: T201 - the parent listens


if __name__ == "__main__":
    uvloop.run(serve())
