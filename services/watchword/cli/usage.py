"""`watchword usage`: what an account used."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from watchword.cli.command import PageSize, PageToken, Session, command
from watchword.client import account_pb2 as pb

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_DAY = ["%Y-%m-%d"]


@command(app)
def usage(
    session: Session,
    *,
    account: Annotated[str, typer.Option(help="AC..., or your own when absent.")] = "",
    application: Annotated[str, typer.Option(help="Only that of AP...")] = "",
    start: Annotated[
        datetime | None, typer.Option("--from", formats=_DAY, help="The first day, UTC.")
    ] = None,
    end: Annotated[
        datetime | None, typer.Option("--until", formats=_DAY, help="The day after the last, UTC.")
    ] = None,
    page_size: PageSize = 0,
    page_token: PageToken = "",
) -> None:
    """List what an account used, day by day."""
    client = session.client
    request = pb.ListUsageRequest(
        account_id=account,
        application_id=application,
        page_size=page_size,
        page_token=page_token,
    )
    if start:
        request.start_time.FromDatetime(start.replace(tzinfo=UTC))
    if end:
        request.end_time.FromDatetime(end.replace(tzinfo=UTC))
    page = client.call(client.account.ListUsage, request)
    columns = (
        "date",
        "channel",
        "region_code",
        "carrier",
        "starts",
        "sends",
        "approvals",
        "call_seconds",
    )
    session.output.listing("rows", page.rows, columns, page.next_page_token)
