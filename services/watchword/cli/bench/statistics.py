"""The arithmetic of the report: pure functions of what was measured."""

from collections.abc import Sequence
from math import ceil
from statistics import median
from typing import NamedTuple

CALLS = 2
"""Calls of one complete verification: Start and Check."""


class Slice(NamedTuple):
    """A short stretch of one kind of load.

    `done` counts complete verifications or empty calls; `seconds` is wall time, `server`
    `generator` and `database` are seconds of CPU (user and system, all threads) spent in it;
    an embedded database spends the server's.
    """

    done: int
    seconds: float
    server: float
    generator: float
    database: float = 0.0


class Summary(NamedTuple):
    """Medians over slices of one kind: CPU in microseconds a piece, pieces a second, cores."""

    cpu_us: float
    lowest_us: float
    highest_us: float
    per_second: float
    server_cores: float
    generator_cores: float
    database_us: float


def summary(slices: Sequence[Slice]) -> Summary:
    """Return the medians of slices. Raises `ValueError` where there is none with work in it."""
    useful = [each for each in slices if each.done and each.seconds > 0]
    if not useful:
        raise ValueError("no slice held any work")
    costs = [each.server / each.done * 1e6 for each in useful]
    return Summary(
        cpu_us=median(costs),
        lowest_us=min(costs),
        highest_us=max(costs),
        per_second=median(each.done / each.seconds for each in useful),
        server_cores=median(each.server / each.seconds for each in useful),
        generator_cores=median(each.generator / each.seconds for each in useful),
        database_us=median(each.database / each.done * 1e6 for each in useful),
    )


def ratio(verification: Summary, empty: Summary) -> float:
    """Return the CPU of one verification over that of two empty calls."""
    return verification.cpu_us / (CALLS * empty.cpu_us)


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` of an ascending sequence do not exceed.

    The nearest-rank definition: never a value that was not measured. Raises `ValueError`
    for an empty sequence.
    """
    if not ordered:
        raise ValueError("nothing was measured")
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


class Latency(NamedTuple):
    """Milliseconds from when a call was due to its reply."""

    calls: int
    p50: float
    p90: float
    p99: float
    highest: float


def latency(seconds: Sequence[float]) -> Latency:
    """Return the distribution of times given in seconds."""
    ordered = sorted(second * 1000 for second in seconds)
    return Latency(
        calls=len(ordered),
        p50=percentile(ordered, 0.50),
        p90=percentile(ordered, 0.90),
        p99=percentile(ordered, 0.99),
        highest=ordered[-1],
    )
