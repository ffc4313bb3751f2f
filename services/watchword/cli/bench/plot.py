"""The figures as a picture, PNG or SVG by the file's name."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from watchword.cli.bench.report import GOAL_MEMORY, GOAL_RATIO, memory_course
from watchword.cli.bench.run import Bench, Long
from watchword.cli.bench.statistics import CALLS, Slice, summary


def plot(bench: Bench, path: Path) -> None:
    """Draw the CPU of each slice beside the goal, and the latencies. Raises `OSError`."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    costs, times = figure.subplots(1, 2, width_ratios=(3, 1))
    yardstick = CALLS * summary(bench.empty).cpu_us
    costs.plot(_costs(bench.verification), marker="o", label="a verification (Start and Check)")
    costs.plot([CALLS * cost for cost in _costs(bench.empty)], marker="o", label="two empty calls")
    costs.axhline(
        GOAL_RATIO * yardstick, linestyle="--", color="grey", label=f"goal: {GOAL_RATIO} times"
    )
    _dress(costs, "slice", "server CPU, µs")
    costs.legend()
    for name, found in (("Start", bench.start), ("Check", bench.check)):
        if found is not None:
            shown = (found.p50, found.p90, found.p99)
            times.plot(("p50", "p90", "p99"), shown, marker="o", label=name)
    _dress(times, f"at {bench.rate:,.0f} verifications/s", "ms")
    times.legend()
    figure.savefig(path)


def plot_long(long: Long, path: Path) -> None:
    """Draw the memory over the verifications done. Raises `OSError`."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots()
    course = memory_course(long)
    axes.plot([done for done, _ in course], [memory for _, memory in course])
    axes.axhline(GOAL_MEMORY / 1e6, linestyle="--", color="grey", label="goal")
    _dress(axes, "verifications", "server's memory, MB")
    axes.legend()
    figure.savefig(path)


def _costs(slices: list[Slice]) -> list[float]:
    return [each.server / each.done * 1e6 for each in slices if each.done]


def _dress(axes: Any, x: str, y: str) -> None:  # noqa: ANN401 - matplotlib's own type
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
