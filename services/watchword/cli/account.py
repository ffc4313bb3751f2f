"""`watchword account`: the tenants of a deployment."""

from enum import StrEnum
from typing import Annotated

import typer

from watchword.cli.command import PageSize, PageToken, RequestId, Session, command, usage
from watchword.client import account_pb2 as pb

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, add_completion=False)


class StateName(StrEnum):
    """The one state that can be set."""

    ACTIVE = "active"


AccountId = Annotated[str, typer.Argument(help="The account, AC...")]
Company = Annotated[str, typer.Option("--company", help="The company's legal name.")]
Email = Annotated[str, typer.Option("--email", help="Where the operator writes to.")]
Phone = Annotated[str, typer.Option("--phone", help="The contact's number, E.164.")]
PerHour = Annotated[int, typer.Option("--sends-per-hour", min=0, help="0: the default.")]
PerDay = Annotated[int, typer.Option("--sends-per-day", min=0, help="0: the default.")]
Regions = Annotated[
    list[str] | None, typer.Option("--region", help="A region that it may enable; * for all.")
]


@command(app, admin=True)
def create(
    session: Session,
    *,
    display_name: Annotated[str, typer.Argument(help="The name shown to people.")],
    company: Company = "",
    email: Email = "",
    phone: Phone = "",
    sends_per_hour: PerHour = 0,
    sends_per_day: PerDay = 0,
    region: Regions = None,
    request_id: RequestId = "",
) -> None:
    """Create an account, on trial."""
    client = session.client
    request = pb.CreateAccountRequest(
        display_name=display_name,
        company_name=company,
        contact_email_address=email,
        contact_phone_number=phone,
        enabled_regions=region,
        request_id=request_id,
    )
    if sends_per_hour or sends_per_day:
        request.limits.sends_per_hour = sends_per_hour
        request.limits.sends_per_day = sends_per_day
    session.output.message(client.call(client.account.CreateAccount, request).account)


@command(app)
def get(
    session: Session,
    *,
    account_id: Annotated[str, typer.Argument(help="AC..., or your own when absent.")] = "",
) -> None:
    """Show an account."""
    session.output.message(_get(session, account_id))


@command(app, "list", admin=True)
def list_(session: Session, *, page_size: PageSize = 0, page_token: PageToken = "") -> None:
    """List the deployment's accounts, newest first."""
    client = session.client
    request = pb.ListAccountsRequest(page_size=page_size, page_token=page_token)
    page = client.call(client.account.ListAccounts, request)
    columns = ("account_id", "display_name", "state", "create_time")
    session.output.listing("accounts", page.accounts, columns, page.next_page_token)


@command(app, admin=True)
def update(
    session: Session,
    *,
    account_id: AccountId,
    display_name: Annotated[str | None, typer.Option("--name")] = None,
    company: Annotated[str | None, typer.Option()] = None,
    email: Annotated[str | None, typer.Option()] = None,
    phone: Phone = "",
    sends_per_hour: Annotated[int | None, typer.Option(min=0)] = None,
    sends_per_day: Annotated[int | None, typer.Option(min=0)] = None,
    region: Regions = None,
    state: Annotated[StateName | None, typer.Option(help="Ends a trial or suspension.")] = None,
    request_id: RequestId = "",
) -> None:
    """Change what is given; the rest stays."""
    client = session.client
    request = pb.UpdateAccountRequest(request_id=request_id)
    account, paths = request.account, request.update_mask.paths
    account.account_id = account_id
    texts = {
        "display_name": display_name,
        "company_name": company,
        "contact_email_address": email,
    }
    for name, value in texts.items():
        if value is not None:
            setattr(account, name, value)
            paths.append(name)
    if phone:
        request.contact_phone_number = phone
        paths.append("contact_phone_number")
    if sends_per_hour is not None or sends_per_day is not None:
        # The mask names all limits at once: those that are not given stay as they are.
        account.limits.CopyFrom(_get(session, account_id).limits)
        account.limits.sends_per_hour = _or(sends_per_hour, account.limits.sends_per_hour)
        account.limits.sends_per_day = _or(sends_per_day, account.limits.sends_per_day)
        paths.append("limits")
    if region:
        account.enabled_regions.extend(region)
        paths.append("enabled_regions")
    if state:
        account.state = pb.ACCOUNT_STATE_ACTIVE
        paths.append("state")
    if not paths:
        usage("nothing to change; give one of the options")
    session.output.message(client.call(client.account.UpdateAccount, request).account)


@command(app, admin=True)
def suspend(
    session: Session,
    *,
    account_id: AccountId,
    reason: Annotated[str, typer.Option(help="Why; audited.")],
    request_id: RequestId = "",
) -> None:
    """Stop an account from starting anything; checks go on."""
    client = session.client
    request = pb.SuspendAccountRequest(account_id=account_id, reason=reason, request_id=request_id)
    session.output.message(client.call(client.account.SuspendAccount, request).account)


def _get(session: Session, account_id: str) -> pb.Account:
    client = session.client
    request = pb.GetAccountRequest(account_id=account_id)
    return client.call(client.account.GetAccount, request).account


def _or(given: int | None, current: int) -> int:
    return current if given is None else given
