"""What was measured, as a document for programs and a table for people."""

from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from watchword.cli.bench.database import SQLITE
from watchword.cli.bench.machine import Machine
from watchword.cli.bench.run import IN_FLIGHT, Bench, Long, Sample, Setup
from watchword.cli.bench.statistics import CALLS, Latency, Slice, Summary, ratio, summary

GOAL_RATIO = 1.6
GOAL_MEMORY = 200_000_000

_MB = 1e6


def document(bench: Bench) -> dict[str, Any]:
    """Return everything that was measured as plain data."""
    verification, empty = summary(bench.verification), summary(bench.empty)
    return {
        "machine": bench.machine._asdict(),
        "setup": bench.setup._asdict(),
        "seconds": bench.seconds,
        "slice_seconds": bench.slice_seconds,
        "in_flight": IN_FLIGHT,
        "ratio": ratio(verification, empty),
        "goal_ratio": GOAL_RATIO,
        "verification": verification._asdict() | {"slices": _slices(bench.verification)},
        "empty_call": empty._asdict() | {"slices": _slices(bench.empty)},
        "latency": {
            "rate": bench.rate,
            "start_ms": _latency(bench.start),
            "check_ms": _latency(bench.check),
            "generator_cores": bench.pace_cores,
        },
        "resident_bytes": bench.memory,
        "replies_checked": bench.checked,
        "approved": bench.approved,
        "sent_before_check": bench.sent,
    }


def long_document(long: Long) -> dict[str, Any]:
    """Return everything that the long run measured as plain data."""
    plain = asdict(long)
    plain["machine"] = long.machine._asdict()
    plain["setup"] = long.setup._asdict()
    plain["samples"] = [sample._asdict() for sample in long.samples]
    plain["highest_resident_bytes"] = max(sample.memory for sample in long.samples)
    plain["goal_resident_bytes"] = GOAL_MEMORY
    return plain


def table(bench: Bench) -> Table:
    """Return the figures of a run for people."""
    verification, empty = summary(bench.verification), summary(bench.empty)
    shown = Table(box=SIMPLE_HEAD, title=_title(bench.machine, bench.setup), title_justify="left")
    for column in ("", "verification", "empty call", "note"):
        shown.add_column(column, justify="left" if column in ("", "note") else "right")
    shown.add_row(
        "server CPU, µs", _spread(verification), _spread(empty), "median (lowest to highest)"
    )
    above = verification.cpu_us - CALLS * empty.cpu_us
    shown.add_row("above two empty calls, µs", f"{above:,.0f}")
    if bench.setup.store != SQLITE:
        shown.add_row("database CPU, µs", f"{verification.database_us:,.0f}")
    proportion = ratio(verification, empty)
    shown.add_row("over two empty calls", f"{proportion:.2f}", "1", f"goal {GOAL_RATIO}")
    shown.add_row("a second", f"{verification.per_second:,.0f}", f"{empty.per_second:,.0f}")
    shown.add_row("server, cores", f"{verification.server_cores:.2f}", f"{empty.server_cores:.2f}")
    shown.add_row(
        "generator, cores",
        f"{verification.generator_cores:.2f}",
        f"{empty.generator_cores:.2f}",
        f"{bench.machine.cores} cores in all",
    )
    pace = f"at {bench.rate:,.0f} verifications/s"
    shown.add_row("Start p50 / p99, ms", _quantiles(bench.start), "", pace)
    shown.add_row("Check p50 / p99, ms", _quantiles(bench.check), "", pace)
    shown.add_row("server's memory, MB", f"{bench.memory / _MB:.0f}")
    shown.add_row("replies, all checked", f"{bench.checked:,}")
    shown.add_row("sent before the check", f"{_share(bench.sent, bench.approved)}")
    return shown


def long_table(long: Long) -> Table:
    """Return the course of the long run for people, in about ten rows."""
    shown = Table(box=SIMPLE_HEAD, title=_title(long.machine, long.setup), title_justify="left")
    for column in ("verifications", "seconds", "memory, MB", "server CPU, µs each"):
        shown.add_column(column, justify="right")
    step = max(1, len(long.samples) // 10)
    rows = long.samples[step - 1 :: step]
    if rows[-1] != long.samples[-1]:
        rows = [*rows, long.samples[-1]]
    for row in rows:
        shown.add_row(
            f"{row.done:,}",
            f"{row.seconds:,.0f}",
            f"{row.memory / _MB:.0f}",
            f"{row.server / row.done * 1e6:.0f}",
        )
    highest = max(sample.memory for sample in long.samples)
    shown.caption = (
        f"highest memory {highest / _MB:.0f} MB, goal {GOAL_MEMORY / _MB:.0f}; "
        f"{long.checked:,} replies checked; store {long.store_bytes / _MB:,.0f} MB"
    )
    return shown


def memory_course(long: Long) -> list[tuple[int, float]]:
    """Return pairs of verifications done and megabytes resident."""
    return [(sample.done, sample.memory / _MB) for sample in _thinned(long.samples)]


def _thinned(samples: list[Sample], most: int = 1_000) -> list[Sample]:
    return samples[:: max(1, len(samples) // most)]


def _slices(slices: list[Slice]) -> list[dict[str, float]]:
    return [each._asdict() for each in slices]


def _latency(found: Latency | None) -> dict[str, float]:
    return found._asdict() if found else {}


def _quantiles(found: Latency | None) -> str:
    return f"{found.p50:.1f} / {found.p99:.1f}" if found else ""


def _spread(found: Summary) -> str:
    return f"{found.cpu_us:,.0f} ({found.lowest_us:,.0f} to {found.highest_us:,.0f})"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else ""


def _title(found: Machine, setup: Setup) -> str:
    store = f"SQLite {found.sqlite}" if setup.store == SQLITE else setup.store
    kept = f", {setup.kept:,} verifications kept" if setup.kept else ""
    return (
        f"{found.cpu}, {found.cores} cores; Python {found.python}, grpcio {found.grpcio}, "
        f"{store} on {found.file_system} (fsync {found.fsync_ms} ms){kept}"
    )
