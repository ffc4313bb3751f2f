"""`watchword serve`: the server, until Ctrl-C."""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from watchword.cli.config import ConfigPath, Json, read
from watchword.cli.failure import refusals_in_lines
from watchword.server import run
from watchword.server.bootstrap import Server

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_EXAMPLE = "+14155550123"


@app.command()
def serve(
    *,
    config: ConfigPath = None,
    dev: Annotated[
        bool, typer.Option("--dev", help="For development: state in ./var, messages on stdout.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Serve until Ctrl-C."""

    def ready(server: Server) -> None:
        _announce(server, dev=dev, as_json=as_json)

    with refusals_in_lines():
        run.serve(run.run_server(read(config, dev=dev), dev_mode=dev, ready=ready))


def _announce(server: Server, *, dev: bool, as_json: bool) -> None:
    where = {"endpoint": server.endpoint, "http_endpoint": server.http_endpoint}
    if as_json:
        typer.echo(json.dumps(where))
        return
    typer.echo(f"Watchword serves gRPC on {server.endpoint}, HTTP on {server.http_endpoint}.")
    if dev:
        typer.echo("Messages appear below, as a phone would show them. In another terminal:\n")
        for line in _examples(server.http_endpoint):
            typer.echo(f"    {line}")
        typer.echo()
    typer.echo("Ctrl-C stops it.")
    sys.stdout.flush()


def _examples(http_endpoint: str) -> tuple[str, str, str]:
    program = _program()
    return (
        f"{program} verify start {_EXAMPLE}",
        f"{program} verify check {_EXAMPLE} CODE",
        f"curl -s http://{http_endpoint}/metrics | grep ^watchword_",
    )


def _program() -> str:
    """Return how this very program is called from here."""
    called = Path(sys.argv[0])
    if called.name != "watchword":
        return f"{sys.executable} -m watchword.cli"
    on_path = shutil.which("watchword")
    if on_path and Path(on_path).resolve() == called.resolve():
        return "watchword"
    return min(os.path.relpath(called), str(called), key=len)
