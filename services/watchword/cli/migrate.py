"""`watchword migrate`: brings the store's schema to this version."""

import asyncio
import json
from typing import Annotated

import typer

from watchword.cli.config import ConfigPath, Dev, Json, read
from watchword.cli.failure import refusals_in_lines
from watchword.server import upkeep

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def migrate(
    *,
    config: ConfigPath = None,
    dev: Dev = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Bring the store's schema up to date.

    Servers of the version before may go on meanwhile and start again after it. It goes
    forward only; killed, it goes on where it was when it is run again.
    """
    with refusals_in_lines():
        change = asyncio.run(upkeep.migrate(read(config, dev=dev), dry_run=dry_run))
    if as_json:
        found = {"from": change.before, "to": change.after, "steps": change.steps}
        typer.echo(json.dumps({**found, "dry_run": dry_run}))
        return
    for step in change.steps:
        typer.echo(f"{'would take' if dry_run else 'took'} {step}")
    if change.before == change.after:
        typer.echo(f"the schema is up to date: {change.after}")
    else:
        typer.echo(f"schema {change.before} -> {change.after}")
