"""How long work shows how far it is: bars on a terminal, nothing anywhere else."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

from watchword.core.upkeep import Progress as Heard


@contextmanager
def progress(*, wanted: bool) -> Iterator[Heard]:
    """Give what long work reports to; a bar for each kind of work on stderr where `wanted`."""
    if not wanted or not sys.stderr.isatty():
        yield _ignore
        return
    columns = (TextColumn("{task.description:<28}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def show(work: str, done: int, total: int) -> None:
            if work not in tasks:
                tasks[work] = bars.add_task(work)
            bars.update(tasks[work], completed=done, total=total)

        yield show


def _ignore(_work: str, _done: int, _total: int) -> None:
    """Show nothing."""
