"""`watchword restore`: a store made of a backup, where there is none."""

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer

from watchword.cli.config import ConfigPath, Dev, Json, read
from watchword.cli.failure import refusals_in_lines
from watchword.cli.progress import progress
from watchword.config import Config
from watchword.server import upkeep
from watchword.server.upkeep import Restored

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def restore(
    *,
    source: Annotated[Path, typer.Option("--from", help="The directory with the data.")],
    keys_from: Annotated[
        Path | None, typer.Option(help="The directory with the wrapped keys.")
    ] = None,
    without_keys: Annotated[
        bool,
        typer.Option("--without-keys", help="The keys are gone: what they sealed stays sealed."),
    ] = False,
    config: ConfigPath = None,
    dev: Dev = False,
    as_json: Json = False,
) -> None:
    """Make the store of a backup, where there is none.

    It needs the root keys that the store was made with. Verifications that were pending
    are ended, since their codes may have been used after the backup; all else is as it was.
    """
    if (keys_from is None) != without_keys:
        raise typer.BadParameter("give either --keys-from or --without-keys")
    with refusals_in_lines(), progress(wanted=not as_json) as heard:
        settings = read(config, dev=dev)
        done = asyncio.run(upkeep.restore(settings, source, keys_from, heard))
    if as_json:
        typer.echo(json.dumps(_plain(settings, done)))
        return
    for name, value in _told(settings, done).items():
        typer.echo(f"{name:<12} {value}")


def _plain(config: Config, done: Restored) -> dict[str, object]:
    change = done.load.schema
    return {
        "store": config.store.shown,
        "world": config.world,
        "backup_id": done.manifest.backup_id,
        "backup_time": done.manifest.plain["time"],
        "schema": {"from": change.before, "to": change.after, "steps": change.steps},
        "voided": done.load.voided,
        "with_keys": done.with_keys,
        "counts": done.manifest.counts,
    }


def _told(config: Config, done: Restored) -> dict[str, str]:
    change = done.load.schema
    migrated = "" if change.before == change.after else f", migrated from {change.before}"
    return {
        "store": config.store.shown,
        "of backup": f"{done.manifest.backup_id}, {done.manifest.plain['time']}",
        "schema": f"{change.after}{migrated}",
        "ended": f"{done.load.voided} verifications that were pending",
        "keys": "restored" if done.with_keys else "none: the store begins without",
    }
