"""`watchword application`: what integrates."""

from enum import StrEnum
from typing import Annotated

import typer

from watchword.cli.command import PageSize, PageToken, RequestId, Session, command, usage
from watchword.client import account_pb2 as pb

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, add_completion=False)


class ChannelName(StrEnum):
    """How codes travel."""

    SMS = "sms"
    VOICE = "voice"
    EMAIL = "email"


class ResendName(StrEnum):
    """Which code a resend carries."""

    SAME = "same"
    NEW = "new"
    LAST_TWO = "last-two"


AccountId = Annotated[str, typer.Option("--account", help="AC..., or your own when absent.")]
Regions = Annotated[list[str], typer.Option("--region", help="A region to send to; * for all.")]
Channels = Annotated[list[ChannelName] | None, typer.Option("--channel", help="SMS when absent.")]
Brand = Annotated[str | None, typer.Option("--brand", help="The name in its messages.")]
Audience = Annotated[str | None, typer.Option(help="The `aud` of its receipts.")]
Purposes = Annotated[
    list[str] | None, typer.Option("--purpose", help="A purpose that may be named; any if none.")
]
Length = Annotated[int | None, typer.Option("--code-length", min=6, max=8, help="Digits.")]
Ttl = Annotated[int | None, typer.Option("--code-ttl", min=30, max=600, help="Seconds.")]
MaxChecks = Annotated[int | None, typer.Option(min=1, max=10, help="Wrong codes it takes.")]
Resend = Annotated[ResendName | None, typer.Option(help="Which code a resend carries.")]
SpiffeIds = Annotated[
    list[str] | None, typer.Option("--spiffe-id", help="A client certificate that speaks for it.")
]
SpiffeScopes = Annotated[
    list[str] | None, typer.Option("--spiffe-scope", help="What those certificates may do.")
]


@command(app)
def create(
    session: Session,
    *,
    display_name: Annotated[str, typer.Argument(help="The name shown to people.")],
    region: Regions,
    account: AccountId = "",
    channel: Channels = None,
    brand: Brand = None,
    audience: Audience = None,
    purpose: Purposes = None,
    code_length: Length = None,
    code_ttl: Ttl = None,
    max_checks: MaxChecks = None,
    resend: Resend = None,
    spiffe_id: SpiffeIds = None,
    spiffe_scope: SpiffeScopes = None,
    request_id: RequestId = "",
) -> None:
    """Create an application."""
    client = session.client
    request = pb.CreateApplicationRequest(
        account_id=account,
        display_name=display_name,
        enabled_regions=region,
        enabled_channels=_channels(channel),
        brand_name=brand or "",
        audience=audience or "",
        purposes=purpose,
        spiffe_ids=spiffe_id,
        spiffe_scopes=spiffe_scope,
        request_id=request_id,
    )
    if _gives_policy(code_length, code_ttl, max_checks, resend):
        _set_policy(request.code_policy, code_length, code_ttl, max_checks, resend)
    session.output.message(client.call(client.account.CreateApplication, request).application)


@command(app)
def get(session: Session, *, application_id: Annotated[str, typer.Argument(help="AP...")]) -> None:
    """Show an application."""
    session.output.message(_get(session, application_id))


@command(app, "list")
def list_(
    session: Session,
    *,
    account: AccountId = "",
    page_size: PageSize = 0,
    page_token: PageToken = "",
) -> None:
    """List an account's applications, newest first."""
    client = session.client
    request = pb.ListApplicationsRequest(
        account_id=account, page_size=page_size, page_token=page_token
    )
    page = client.call(client.account.ListApplications, request)
    columns = ("application_id", "display_name", "enabled_regions", "create_time")
    session.output.listing("applications", page.applications, columns, page.next_page_token)


@command(app)
def update(
    session: Session,
    *,
    application_id: Annotated[str, typer.Argument(help="The application, AP...")],
    display_name: Annotated[str | None, typer.Option("--name")] = None,
    region: Annotated[list[str] | None, typer.Option(help="A region to send to.")] = None,
    channel: Channels = None,
    brand: Brand = None,
    audience: Audience = None,
    purpose: Purposes = None,
    code_length: Length = None,
    code_ttl: Ttl = None,
    max_checks: MaxChecks = None,
    resend: Resend = None,
    custom_codes: Annotated[
        bool | None,
        typer.Option("--custom-codes/--no-custom-codes", help="Codes of its own; an operator's."),
    ] = None,
    spiffe_id: SpiffeIds = None,
    spiffe_scope: SpiffeScopes = None,
    request_id: RequestId = "",
) -> None:
    """Change what is given; the rest stays. Lists are replaced whole."""
    client = session.client
    given: dict[str, object] = {
        "display_name": display_name,
        "enabled_regions": region,
        "enabled_channels": _channels(channel),
        "brand_name": brand,
        "audience": audience,
        "purposes": purpose,
        "custom_code_granted": custom_codes,
        "spiffe_ids": spiffe_id,
        "spiffe_scopes": spiffe_scope,
    }
    changes = {name: value for name, value in given.items() if value not in (None, [])}
    request = pb.UpdateApplicationRequest(
        application={"application_id": application_id, **changes},  # type: ignore[arg-type]
        request_id=request_id,
    )
    request.update_mask.paths.extend(changes)
    if _gives_policy(code_length, code_ttl, max_checks, resend):
        # The mask names the whole policy: what is not given stays as it is.
        policy = request.application.code_policy
        policy.CopyFrom(_get(session, application_id).code_policy)
        _set_policy(policy, code_length, code_ttl, max_checks, resend)
        request.update_mask.paths.append("code_policy")
    if not request.update_mask.paths:
        usage("nothing to change; give one of the options")
    session.output.message(client.call(client.account.UpdateApplication, request).application)


def _get(session: Session, application_id: str) -> pb.Application:
    client = session.client
    request = pb.GetApplicationRequest(application_id=application_id)
    return client.call(client.account.GetApplication, request).application


def _channels(names: list[ChannelName] | None) -> "list[pb.Channel.ValueType]":
    return [pb.Channel.Value(f"CHANNEL_{name.name}") for name in names or []]


def _gives_policy(*settings: int | ResendName | None) -> bool:
    return any(setting is not None for setting in settings)


def _set_policy(
    policy: pb.CodePolicy,
    length: int | None,
    ttl: int | None,
    max_checks: int | None,
    resend: ResendName | None,
) -> None:
    if length is not None:
        policy.length = length
    if ttl is not None:
        policy.ttl.FromSeconds(ttl)
    if max_checks is not None:
        policy.max_checks = max_checks
    if resend is not None:
        policy.resend = pb.ResendPolicy.Value(f"RESEND_POLICY_{resend.name}")
