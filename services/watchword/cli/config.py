"""`watchword config`: is the configuration good, and what is it?"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from watchword.cli.failure import refuse
from watchword.config import MASK, Config, ConfigError, dev_config, load, without_password
from watchword.core.ports import SECOND
from watchword.server.checks import check as check_config

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, add_completion=False)

ConfigPath = Annotated[
    Path | None, typer.Option("--config", help="The TOML file; WATCHWORD_CONFIG when absent.")
]
Dev = Annotated[bool, typer.Option("--dev", help="As `serve --dev` takes it.")]
Json = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]

DEV_DIRECTORY = Path("var")
"""Where `serve --dev` keeps its state."""

_PLAIN = frozenset({"path", "base_url", "sender", "messaging_service_sid", "callback_url"})
_SECONDS = (("limits", "first_cooldown"), ("retention", "verifications"))  # as in the file


@app.command()
def check(*, config: ConfigPath = None, dev: Dev = False, as_json: Json = False) -> None:
    """Say whether a server would start with it; exits 1 and says why when not."""
    try:
        check_config(read(config, dev=dev), dev=dev)
    except ConfigError as error:
        if as_json:
            typer.echo(json.dumps({"ok": False, "faults": list(error.lines)}))
            raise typer.Exit(1) from None
        refuse(*error.lines)
    typer.echo(json.dumps({"ok": True, "faults": []}) if as_json else "the configuration is good")


@app.command()
def show(*, config: ConfigPath = None, dev: Dev = False, as_json: Json = False) -> None:
    """Show what is in force: file, variables and defaults. Carriers' settings are masked."""
    try:
        found = masked(read(config, dev=dev))
    except ConfigError as error:
        refuse(*error.lines)
    if as_json:
        typer.echo(json.dumps(found))
        return
    for name, value in _flat("", found):
        typer.echo(f"{name} = {json.dumps(value)}")


def read(path: Path | None, *, dev: bool) -> Config:
    """Return the configuration; raises `ConfigError`."""
    return dev_config(DEV_DIRECTORY) if dev else load(path)


def masked(config: Config) -> dict[str, Any]:
    """Return the configuration as plain data, without passwords and what a carrier may hold."""
    plain = asdict(config)
    plain["limits"] = config.limits._asdict()
    for section, name in _SECONDS:
        plain[section][name] //= SECOND
    for name in ("dsn", "keys_dsn"):
        plain["store"][name] = without_password(plain["store"][name])
    for table in plain["carriers"]["tables"].values():
        for name, value in table.items():
            if isinstance(value, str) and name not in _PLAIN and not name.endswith("_file"):
                table[name] = MASK
    return plain


def _flat(prefix: str, tree: Mapping[str, Any]) -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for name, value in tree.items():
        path = f"{prefix}{name}"
        found += _flat(f"{path}.", value) if isinstance(value, dict) else [(path, value)]
    return found
