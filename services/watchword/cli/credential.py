"""`watchword credential`: what callers prove themselves with."""

from typing import Annotated

import typer

from watchword.cli.command import PageSize, PageToken, RequestId, Session, command
from watchword.client import account_pb2 as pb

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, add_completion=False)

AccountId = Annotated[str, typer.Option("--account", help="AC..., or your own when absent.")]


@command(app)
def create(
    session: Session,
    *,
    scope: Annotated[list[str], typer.Option(help="What it may do: verification.start, ...")],
    application: Annotated[str, typer.Option(help="AP... that it speaks for.")] = "",
    account: AccountId = "",
    name: Annotated[str, typer.Option(help="The name shown to people.")] = "",
    ttl_days: Annotated[int, typer.Option(min=0, help="When it ends; 0: never.")] = 0,
    request_id: RequestId = "",
) -> None:
    """Create a credential and show its secret, this once."""
    client = session.client
    request = pb.CreateCredentialRequest(
        account_id=account,
        application_id=application,
        display_name=name,
        scopes=scope,
        request_id=request_id,
    )
    if ttl_days:
        request.ttl.FromSeconds(ttl_days * 86_400)
    reply = client.call(client.account.CreateCredential, request)
    session.output.message(reply)
    if reply.secret_omitted:
        session.output.line("an earlier call showed the secret; it is not kept")


@command(app, "list")
def list_(
    session: Session,
    *,
    account: AccountId = "",
    application: Annotated[str, typer.Option(help="Only those of AP...")] = "",
    page_size: PageSize = 0,
    page_token: PageToken = "",
) -> None:
    """List an account's credentials, newest first, revoked ones included."""
    client = session.client
    request = pb.ListCredentialsRequest(
        account_id=account,
        application_id=application,
        page_size=page_size,
        page_token=page_token,
    )
    page = client.call(client.account.ListCredentials, request)
    columns = ("credential_id", "display_name", "state", "scopes", "create_time", "expire_time")
    session.output.listing("credentials", page.credentials, columns, page.next_page_token)


@command(app)
def revoke(
    session: Session,
    *,
    revoked: Annotated[str, typer.Argument(metavar="CREDENTIAL_ID", help="The credential, CR...")],
    request_id: RequestId = "",
) -> None:
    """Revoke a credential; it holds at once."""
    client = session.client
    request = pb.RevokeCredentialRequest(credential_id=revoked, request_id=request_id)
    session.output.message(client.call(client.account.RevokeCredential, request).credential)
