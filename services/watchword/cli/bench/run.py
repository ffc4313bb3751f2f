"""The measurement: which processes run, and in which order they are loaded."""

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from watchword.cli.bench.database import Database, database
from watchword.cli.bench.machine import Machine, machine
from watchword.cli.bench.processes import Process
from watchword.cli.bench.site import make_site
from watchword.cli.bench.statistics import Latency, Slice

IN_FLIGHT = 128
"""Calls in flight in every closed loop."""

WAITING = 1_024
"""Verifications between a Start and its Check."""

Progress = Callable[[float, str], None]
"""Told the share of the run that is over (0 to 1) and what goes on."""

_WARM_UP, _SLICES, _PACE = 0.1, 0.6, 0.3
_SLICE, _SHORTEST_SLICE = 1.0, 0.1
_SAMPLE = 5_000
_ANSWER_WITHIN = 300.0
_LOG = "errors.log"


class Setup(NamedTuple):
    """What the server keeps its state in, and how much is in there before the run.

    `store` is `sqlite`, `postgresql` for a server of the bench's own, or the DSN of an
    empty database; `kept` counts finished verifications.
    """

    store: str = "sqlite"
    kept: int = 0


@dataclass(slots=True)
class Bench:
    """What a run of `watchword bench` measured; memory is in bytes."""

    machine: Machine
    setup: Setup
    seconds: float
    slice_seconds: float
    verification: list[Slice] = field(default_factory=list)
    empty: list[Slice] = field(default_factory=list)
    rate: float = 0
    start: Latency | None = None
    check: Latency | None = None
    pace_cores: float = 0
    memory: int = 0
    checked: int = 0
    approved: int = 0
    sent: int = 0


class Sample(NamedTuple):
    """The server after `done` verifications: seconds since the beginning, bytes, its CPU."""

    done: int
    seconds: float
    memory: int
    server: float


@dataclass(slots=True)
class Long:
    """What a run of `watchword bench --long` measured."""

    machine: Machine
    setup: Setup
    samples: list[Sample] = field(default_factory=list)
    store_bytes: int = 0
    checked: int = 0
    approved: int = 0
    sent: int = 0


class Rig(NamedTuple):
    """The processes of a run, each with its connections open."""

    directory: Path
    database: Database
    server: Process
    empty: Process
    generator: Process

    def order(self, do: str, **details: float) -> dict[str, Any]:
        """Have the generator do something and return what it says."""
        self.generator.tell({"do": do, **details})
        return self.generator.hear(_ANSWER_WITHIN)

    def stretch(self, target: Process, do: str, **details: float) -> tuple[Slice, dict[str, Any]]:
        """Carry out an order and return what it cost `target` and the generator."""
        before = target.cpu(), self.database.cpu()
        answer = self.order(do, **details)
        used = target.cpu() - before[0], self.database.cpu() - before[1]
        return Slice(answer["done"], answer["seconds"], used[0], answer["cpu"], used[1]), answer


@contextmanager
def rig(setup: Setup, progress: Progress) -> Iterator[Rig]:
    """Make a deployment, start all processes, stop and remove everything at the end.

    Raises `BenchError` where a process does not start.
    """
    with ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="watchword-bench-"))
        directory = Path(name)
        store = stack.enter_context(database(setup.store))

        def tell(count: int) -> None:
            progress(0, f"{count:,} of {setup.kept:,} verifications put into the store")

        site = asyncio.run(make_site(directory, store.dsn, setup.kept, tell))
        arguments = ("watchword.cli", "serve", "--config", str(site.config), "--json")
        log = directory / _LOG
        server = stack.enter_context(Process(arguments, directory / "server.log"))
        empty = stack.enter_context(Process(("watchword.cli.bench.empty",), log))
        generator = stack.enter_context(Process(("watchword.cli.bench.generator",), log))
        endpoints = {"server": server.hear()["endpoint"], "empty": empty.hear()["endpoint"]}
        generator.tell({"profile": site.profile._asdict(), **endpoints})
        generator.hear()
        yield Rig(directory, store, server, empty, generator)


def measure(seconds: float, setup: Setup, progress: Progress) -> Bench:
    """Measure for about `seconds`, start-up not counted. Raises `BenchError`."""
    with rig(setup, progress) as processes:
        length = max(_SHORTEST_SLICE, min(_SLICE, seconds / 20))
        bench = Bench(machine(processes.directory), _named(setup), seconds, length)
        progress(0, "warming up")
        _warm_up(processes, seconds * _WARM_UP)
        _alternate(processes, bench, progress)
        progress(1 - _PACE, "latency at half of the throughput")
        _pace(processes, bench)
        progress(1, "done")
        return bench


def _warm_up(processes: Rig, seconds: float) -> None:
    processes.order("fill", count=WAITING, in_flight=IN_FLIGHT)
    processes.order("verify", seconds=seconds * 2 / 3, in_flight=IN_FLIGHT)
    processes.order("empty", seconds=seconds / 3, in_flight=IN_FLIGHT)


def _alternate(processes: Rig, bench: Bench, progress: Progress) -> None:
    """Load the real and the empty server by turns, so that both see the same machine."""
    length = bench.slice_seconds
    pairs = max(2, round(bench.seconds * _SLICES / (2 * length)))
    for pair in range(pairs):
        progress(_WARM_UP + _SLICES * pair / pairs, f"slice {pair + 1} of {pairs}")
        found, _ = processes.stretch(
            processes.server, "verify", seconds=length, in_flight=IN_FLIGHT
        )
        bench.verification.append(found)
        found, _ = processes.stretch(processes.empty, "empty", seconds=length, in_flight=IN_FLIGHT)
        bench.empty.append(found)


def _pace(processes: Rig, bench: Bench) -> None:
    done = sum(each.done for each in bench.verification)
    bench.rate = done / sum(each.seconds for each in bench.verification) / 2
    found, answer = processes.stretch(
        processes.server, "pace", rate=bench.rate, seconds=bench.seconds * _PACE
    )
    bench.start, bench.check = Latency(**answer["start"]), Latency(**answer["check"])
    bench.pace_cores = found.generator / found.seconds
    bench.memory = processes.server.memory()
    bench.checked, bench.approved = answer["checked"], answer["approved"]
    bench.sent = answer["sent"]


def _named(setup: Setup) -> Setup:
    """Return the setup as it may be shown: a DSN holds a password."""
    return setup._replace(store=setup.store.partition(":")[0])


def measure_long(count: int, setup: Setup, progress: Progress) -> Long:
    """Complete `count` verifications and watch the server's memory. Raises `BenchError`.

    Retention is the default: nothing is old enough to be deleted, and the store keeps it
    all. One verification more in twenty is left alone, with a code of 30 seconds, so
    that the sweeper has work all the time.
    """
    with rig(setup, progress) as processes:
        long = Long(machine(processes.directory), _named(setup))
        processes.order("fill", count=min(WAITING, count), in_flight=IN_FLIGHT)
        began, cpu = perf_counter(), processes.server.cpu()
        done = 0
        while done < count:
            step = min(_SAMPLE, count - done)
            answer = processes.order("many", count=step, in_flight=IN_FLIGHT)
            done += step
            sample = Sample(
                done,
                perf_counter() - began,
                processes.server.memory(),
                processes.server.cpu() - cpu,
            )
            long.samples.append(sample)
            progress(done / count, f"{done:,} verifications, {sample.memory / 1e6:.0f} MB")
            long.checked, long.approved = answer["checked"], answer["approved"]
            long.sent = answer["sent"]
        long.store_bytes = sum(
            path.stat().st_size for path in processes.directory.glob("watchword.db*")
        )
        return long
