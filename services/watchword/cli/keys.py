"""`watchword keys`: the public keys that verify what Watchword signs."""

import json

import typer

from watchword.cli.command import Session, command
from watchword.cli.fields import enum_text
from watchword.client import account_pb2 as pb

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@command(app)
def keys(session: Session) -> None:
    """Show the public keys that verify receipts."""
    client = session.client
    reply = client.call(client.account.GetSigningKeys, pb.GetSigningKeysRequest())
    sets = {
        enum_text(pb.KeyUse.DESCRIPTOR, each.use).lower(): json.loads(each.jwks)
        for each in reply.key_sets
    }
    if session.output.json:
        session.output.document(sets)
        return
    for use, key_set in sets.items():
        for key in key_set["keys"]:
            session.output.line(f"{use}  {key.get('kid')}  {key.get('crv')}  {key.get('x')}")
