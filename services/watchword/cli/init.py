"""`watchword init`: what is made on the host, once, before the first start."""

import asyncio
import json
import os
from pathlib import Path
from typing import Annotated

import typer

from watchword.account.first import NewIdentity
from watchword.cli.config import ConfigPath, Json, read
from watchword.cli.failure import refusals_in_lines, refuse
from watchword.config import Config
from watchword.server import run

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_PRIVATE = 0o600


@app.command()
def init(
    *,
    config: ConfigPath = None,
    credentials: Annotated[
        Path, typer.Option(help="Where to write the first operator's credential; a new file.")
    ] = Path("operator-credentials.json"),
    as_json: Json = False,
) -> None:
    """Make the keys, the store and the first credential.

    It refuses to touch a deployment that is there. The credential's file has mode 0600 and
    serves as --profile of the commands that call the server.
    """
    with refusals_in_lines():
        settings = read(config, dev=False)
        file = _create(credentials)
        try:
            made = asyncio.run(run.initialise(settings))
        except BaseException:
            os.close(file)
            credentials.unlink()
            raise
        with os.fdopen(file, "w", encoding="utf-8") as out:
            json.dump(_profile(settings, made), out, indent=2)
            out.write("\n")
    _tell(settings, credentials, as_json=as_json)


def _create(path: Path) -> int:
    """Open a new private file first: a credential that could not be kept would be lost."""
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
    except FileExistsError:
        refuse(f"{path}: is there already; move it away, or name another with --credentials")


def _profile(config: Config, made: NewIdentity) -> dict[str, str]:
    credential_id, secret = made.credential.credential_id, made.secret.reveal()
    return {
        "endpoint": _reachable(config.listen),
        "credential_id": credential_id,
        "credential_secret": secret,
        "admin_credential_id": credential_id,
        "admin_credential_secret": secret,
    }


def _reachable(listen: str) -> str:
    """Return an address of this host where the server listens on all of them."""
    host, _, port = listen.rpartition(":")
    return f"localhost:{port}" if host in {"0.0.0.0", "[::]"} else listen  # noqa: S104


def _tell(config: Config, credentials: Path, *, as_json: bool) -> None:
    made = {
        "world": config.world,
        "store": config.store.shown,
        "keys": config.keys.directory,
        "credentials": str(credentials),
    }
    if as_json:
        typer.echo(json.dumps(made))
        return
    for name, value in made.items():
        typer.echo(f"{name:<12} {value}")
    typer.echo("Back the keys up apart from the store: without them nothing can be read again.")
