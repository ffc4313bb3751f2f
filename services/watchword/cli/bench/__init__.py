"""`watchword bench`: what a verification costs the server, beside calls that do nothing."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from watchword.cli.bench.database import SQLITE
from watchword.cli.bench.processes import BenchError
from watchword.cli.bench.report import document, long_document, long_table, table
from watchword.cli.bench.run import Setup, measure, measure_long
from watchword.cli.failure import refuse

app = typer.Typer(rich_markup_mode=None, add_completion=False)

MILLION = 1_000_000
_WIDTH = 120


@app.command()
def bench(
    *,
    seconds: Annotated[float, typer.Option(min=1, help="How long to measure.")] = 30,
    long: Annotated[
        bool, typer.Option("--long", help="Watch the memory over a million verifications instead.")
    ] = False,
    count: Annotated[
        int, typer.Option(min=1, max=6 * MILLION, help="How many verifications with --long.")
    ] = MILLION,
    store: Annotated[
        str,
        typer.Option(
            metavar="STORE",
            help="sqlite; postgresql, a server of its own; or the DSN of an empty database.",
        ),
    ] = SQLITE,
    kept: Annotated[
        int, typer.Option(min=0, help="How many finished verifications the store begins with.")
    ] = 0,
    json_file: Annotated[
        str, typer.Option("--json", metavar="FILE", help="Write JSON there; - for stdout.")
    ] = "",
    plot_file: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw a .png or .svg.")
    ] = None,
) -> None:
    """Measure a real server under load, in a sandbox of its own on loopback.

    Start and Check are compared with two calls of an empty server, loaded by turns in
    the same run; then latency is measured at half of the throughput. Linux only.
    """
    if not Path("/proc/self/stat").exists():
        refuse("the bench reads /proc, which only Linux has")
    setup = Setup(store, kept)
    try:
        with _progress() as progress:
            if long:
                course = measure_long(count, setup, progress)
                found, shown = long_document(course), long_table(course)
            else:
                figures = measure(seconds, setup, progress)
                found, shown = document(figures), table(figures)
    except BenchError as error:
        refuse(str(error))
    _write(found, shown, json_file)
    if plot_file is not None:
        from watchword.cli.bench.plot import plot, plot_long  # noqa: PLC0415 - heavy, rarely asked

        if long:
            plot_long(course, plot_file)
        else:
            plot(figures, plot_file)


def _write(found: dict[str, Any], shown: Table, json_file: str) -> None:
    text = json.dumps(found, indent=2)
    if json_file == "-":
        typer.echo(text)
        return
    width = None if sys.stdout.isatty() else _WIDTH
    Console(width=width, markup=False, highlight=False).print(shown)
    if json_file:
        Path(json_file).write_text(text + "\n", encoding="utf-8")


@contextmanager
def _progress() -> Iterator[Callable[[float, str], None]]:
    """Show a bar on stderr where a person looks at it, else a line for each new step."""
    console = Console(stderr=True)
    columns = (BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("starting", total=1.0)

        def tell(share: float, text: str) -> None:
            bar.update(task, completed=share, description=text)
            if not console.is_terminal:
                console.print(f"{100 * share:3.0f} %  {text}", markup=False, highlight=False)

        yield tell
