"""What every command that calls a server shares: its options, its client, its errors."""

import functools
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Concatenate, NoReturn, ParamSpec

import typer

from watchword.cli.output import Output
from watchword.cli.target import DEV_PROFILE, Target, TargetError, resolve
from watchword.client import SyncClient, Tls, WatchwordError

P = ParamSpec("P")

RequestId = Annotated[
    str, typer.Option(help="Makes the call idempotent for 24 hours; a random one if absent.")
]
"""The option of every command with an effect."""

PageSize = Annotated[int, typer.Option(min=0, help="How many to list; 0 takes the server's.")]
PageToken = Annotated[str, typer.Option(help="Where the page before said to go on.")]


@dataclass(frozen=True, slots=True)
class Session:
    """What a command works with."""

    client: SyncClient
    output: Output


def command(
    app: typer.Typer, name: str | None = None, *, admin: bool = False
) -> Callable[[Callable[Concatenate[Session, P], None]], Callable[..., None]]:
    """Register a function as a command that calls a server.

    Its first parameter is the `Session`; the options of `_common` join its own. With
    `admin` the dev profile's operator calls.
    """

    def register(function: Callable[Concatenate[Session, P], None]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(**given: Any) -> None:  # noqa: ANN401 - as typer parsed them
            common = {key: given.pop(key) for key in _COMMON}
            _run(functools.partial(function, **given), common, admin=admin)

        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        parameters = [*(p.replace(kind=p.KEYWORD_ONLY) for p in own), *_COMMON.values()]
        vars(run)["__signature__"] = inspect.Signature(parameters, return_annotation=None)
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        del vars(run)["__wrapped__"]
        app.command(name)(run)
        return run

    return register


def _common(
    *,
    endpoint: Annotated[
        str, typer.Option(envvar="WATCHWORD_ENDPOINT", help="host:port or unix:path of the server.")
    ] = "",
    credential_id: Annotated[
        str, typer.Option(envvar="WATCHWORD_CREDENTIAL_ID", help="Who calls.")
    ] = "",
    credential_secret: Annotated[
        str,
        typer.Option(
            envvar="WATCHWORD_CREDENTIAL_SECRET",
            help="Its secret; better by the environment, since other users see flags.",
        ),
    ] = "",
    profile: Annotated[
        Path, typer.Option(help="Where to find what is not given otherwise.")
    ] = DEV_PROFILE,
    ca: Annotated[Path | None, typer.Option(help="PEM of the authorities to trust.")] = None,
    cert: Annotated[Path | None, typer.Option(help="PEM of a client certificate.")] = None,
    key: Annotated[Path | None, typer.Option(help="PEM of its private key.")] = None,
    tls: Annotated[
        bool | None,
        typer.Option("--tls/--plaintext", help="TLS, by default unless the server is local."),
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.001, help="Seconds that a call may take, retries included.")
    ] = 5.0,
    json: Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")] = False,
) -> None:
    """Declare the common options."""


_COMMON = dict(inspect.signature(_common).parameters)


def _run(function: Callable[[Session], None], common: dict[str, Any], *, admin: bool) -> None:
    output = Output(json=common["json"])
    try:
        target = _target(common, admin=admin)
    except (OSError, ValueError) as error:
        usage(str(error))
    with SyncClient(
        target.endpoint,
        target.credential_id,
        target.credential_secret,
        tls=target.tls,
        deadline=common["timeout"],
    ) as client:
        try:
            function(Session(client, output))
        except WatchwordError as error:
            output.error(error)
            raise typer.Exit(1) from None


def _target(common: dict[str, Any], *, admin: bool) -> Target:
    files = common["ca"], common["cert"], common["key"]
    tls: Tls | bool | None = common["tls"]
    if any(files):
        if tls is False:
            raise TargetError("--plaintext goes with none of --ca, --cert and --key")
        tls = Tls.from_files(*files)
    return resolve(
        common["endpoint"],
        common["credential_id"],
        common["credential_secret"],
        profile=common["profile"],
        admin=admin,
        tls=tls,
    )


def usage(line: str) -> NoReturn:
    """Say on stderr what is wrong with how the command was called, and leave with 2."""
    print(f"watchword: {line}", file=sys.stderr)  # noqa: T201
    raise typer.Exit(2)


def pairs(option: str, given: list[str]) -> dict[str, str]:
    """Return what options of the form KEY=VALUE say; leaves with 2 for another form."""
    found = dict(item.partition("=")[::2] for item in given)
    if not all("=" in item for item in given) or len(found) != len(given):
        usage(f"{option} takes KEY=VALUE, each key once")
    return found
