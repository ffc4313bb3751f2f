"""`watchword backup`: a copy of the store, while a server serves."""

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer

from watchword.cli.config import ConfigPath, Dev, Json, read
from watchword.cli.failure import refusals_in_lines
from watchword.cli.progress import progress
from watchword.server import upkeep
from watchword.server.manifest import Manifest

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def backup(
    *,
    to: Annotated[Path, typer.Option(help="A new directory for the data.")],
    keys_to: Annotated[
        Path, typer.Option(help="A new directory for the wrapped keys; keep it a shorter time.")
    ],
    config: ConfigPath = None,
    dev: Dev = False,
    as_json: Json = False,
) -> None:
    """Copy the store into two directories, while a server serves.

    Root keys are never part of it: back them up apart. Once the copy of the wrapped keys
    is gone, what was erased since cannot be read from the copy of the data either.
    """
    with refusals_in_lines(), progress(wanted=not as_json) as heard:
        made = asyncio.run(upkeep.backup(read(config, dev=dev), to, keys_to, heard))
    if as_json:
        typer.echo(json.dumps({**made.plain, "to": str(to), "keys_to": str(keys_to)}))
        return
    for name, value in _told(made, to, keys_to).items():
        typer.echo(f"{name:<12} {value}")


def _told(made: Manifest, to: Path, keys_to: Path) -> dict[str, str]:
    rows = ", ".join(f"{count} {name}" for name, count in made.counts.items() if count)
    return {
        "backup": f"{made.backup_id}, {made.plain['time']}",
        "of": f"a {made.world} store, schema {made.schema}",
        "data": f"{to / made.data.file}, {made.data.size} bytes",
        "keys": f"{keys_to / made.keys.file}, {made.keys.size} bytes",
        "rows": rows,
    }
