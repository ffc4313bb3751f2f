"""`watchword test-number`: fictitious numbers with fixed codes, to which nothing is sent."""

from typing import Annotated

import typer

from watchword.cli.command import PageSize, PageToken, RequestId, Session, command
from watchword.client import account_pb2 as pb

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, add_completion=False)

ApplicationId = Annotated[str, typer.Argument(help="The application, AP...")]
Phone = Annotated[str, typer.Argument(help="A fictitious number, +1 NPA 555-0100 for example.")]


@command(app)
def create(
    session: Session,
    *,
    application_id: ApplicationId,
    phone_number: Phone,
    code: Annotated[str, typer.Argument(help="The code that it always takes, 6 to 10 digits.")],
    request_id: RequestId = "",
) -> None:
    """Create a test number, for 90 days."""
    client = session.client
    request = pb.CreateTestNumberRequest(
        application_id=application_id,
        phone_number=phone_number,
        code=code,
        request_id=request_id,
    )
    session.output.message(client.call(client.account.CreateTestNumber, request).test_number)


@command(app, "list")
def list_(
    session: Session,
    *,
    application_id: ApplicationId,
    page_size: PageSize = 0,
    page_token: PageToken = "",
) -> None:
    """List an application's test numbers."""
    client = session.client
    request = pb.ListTestNumbersRequest(
        application_id=application_id, page_size=page_size, page_token=page_token
    )
    page = client.call(client.account.ListTestNumbers, request)
    columns = ("phone_number", "create_time", "expire_time")
    session.output.listing("test_numbers", page.test_numbers, columns, page.next_page_token)


@command(app)
def delete(
    session: Session,
    *,
    application_id: ApplicationId,
    phone_number: Phone,
    request_id: RequestId = "",
) -> None:
    """Delete a test number."""
    client = session.client
    request = pb.DeleteTestNumberRequest(
        application_id=application_id, phone_number=phone_number, request_id=request_id
    )
    session.output.message(client.call(client.account.DeleteTestNumber, request))
    session.output.line("deleted")
