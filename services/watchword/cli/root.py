"""The commands by name; a command's module is imported when the command runs.

So `watchword --help` and completion answer at once, and a client's machine needs none of
the server's packages.
"""

from importlib import import_module, metadata
from importlib.util import find_spec
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command


class Entry(NamedTuple):
    """A command: the module that holds its `app`, and its line in the help."""

    module: str
    help: str


COMMANDS = {
    "serve": Entry("watchword.cli.serve", "Serve until Ctrl-C."),
    "demo": Entry("watchword.cli.demo", "Show the main job end to end, on a server of its own."),
    "verify": Entry("watchword.cli.verify", "Start, check and follow verifications."),
    "account": Entry("watchword.cli.account", "Manage accounts."),
    "application": Entry("watchword.cli.application", "Manage an account's applications."),
    "credential": Entry("watchword.cli.credential", "Manage what callers prove themselves with."),
    "test-number": Entry("watchword.cli.testnumber", "Manage fictitious numbers with fixed codes."),
    "usage": Entry("watchword.cli.usage", "List what an account used, day by day."),
    "keys": Entry("watchword.cli.keys", "Show the public keys that verify receipts."),
    "init": Entry("watchword.cli.init", "Make the keys, the store and the first credential."),
    "migrate": Entry("watchword.cli.migrate", "Bring the store's schema up to date."),
    "backup": Entry(
        "watchword.cli.backup", "Copy the store into two directories, while a server serves."
    ),
    "restore": Entry("watchword.cli.restore", "Make the store of a backup, where there is none."),
    "config": Entry("watchword.cli.config", "Check or show the configuration."),
    "bench": Entry("watchword.cli.bench", "Measure a server under load."),
}
"""Every command, in the order of the help."""


def existing_commands() -> dict[str, Entry]:
    """Return the commands whose module is installed."""
    return {name: entry for name, entry in COMMANDS.items() if find_spec(entry.module)}


class LazyGroup(TyperGroup):
    """Lists commands without importing them."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - passed through
        super().__init__(**settings)
        for name, entry in existing_commands().items():
            self.commands[name] = TyperCommand(name, help=entry.help, rich_markup_mode=None)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - passed through
        """Import the command that was named, then find it as usual."""
        if args and args[0] in self.commands:
            self.commands[args[0]] = load(args[0])
        return super().resolve_command(ctx, args)


def load(name: str) -> Any:  # noqa: ANN401 - typer keeps its command type to itself
    """Import the command `name` and return it."""
    entry = COMMANDS[name]
    command = get_command(import_module(entry.module).app)
    command.name = name
    command.help = entry.help if isinstance(command, TyperGroup) else command.help
    return command


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # it would print local variables
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it with the option's value
    if wanted:
        typer.echo(f"watchword {metadata.version('watchword')}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Phone verification and two-factor authentication, self-hosted.

    Commands that call a server find it by flags, by WATCHWORD_ENDPOINT, WATCHWORD_CREDENTIAL_ID
    and WATCHWORD_CREDENTIAL_SECRET, or by ./var/dev-credentials.json, which `serve --dev` writes.
    Exit status: 0 done, 1 refused or rejected, 2 wrong usage.
    """
