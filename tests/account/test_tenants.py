"""One account never reaches another: every method, every field that holds an id."""

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from tests.account.room import OPERATOR, Room

from watchword.account.v1 import account_pb2 as pb
from watchword.core.errors import DomainError, NotFound, PermissionDenied, Unimplemented
from watchword.core.ids import is_id

SERVICE = pb.DESCRIPTOR.services_by_name["AccountService"]
CASES = [
    (method.name, path)
    for method in SERVICE.methods
    for path in (
        [f.name for f in method.input_type.fields if f.name.endswith("_id")]
        + [
            f"{f.name}.{g.name}"
            for f in method.input_type.fields
            if f.name in ("account", "application")
            for g in (f.message_type.fields if f.message_type else ())
            if g.name == f"{f.name}_id"
        ]
    )
    if not path.endswith("request_id")
]
UNKNOWN = {"account_id": "AC", "application_id": "AP", "credential_id": "CR"}


def filled(name: str) -> Message:
    """Return a request that would succeed if its ids were the caller's."""
    requests: dict[str, Message] = {
        "UpdateAccount": pb.UpdateAccountRequest(
            account=pb.Account(display_name="stolen"), update_mask=FieldMask(paths=["display_name"])
        ),
        "CreateApplication": pb.CreateApplicationRequest(display_name="x", enabled_regions=["DE"]),
        "UpdateApplication": pb.UpdateApplicationRequest(
            application=pb.Application(display_name="stolen"),
            update_mask=FieldMask(paths=["display_name"]),
        ),
        "CreateCredential": pb.CreateCredentialRequest(scopes=["verification.start"]),
        "CreateTestNumber": pb.CreateTestNumberRequest(phone_number="+12025550123", code="123456"),
        "DeleteTestNumber": pb.DeleteTestNumberRequest(phone_number="+12025550123"),
        "SuspendAccount": pb.SuspendAccountRequest(reason="x"),
    }
    return requests.get(name) or getattr(pb, f"{name}Request")()


def with_id(name: str, path: str, value: str) -> Message:
    request = filled(name)
    *parents, field = path.split(".")
    target = request
    for parent in parents:
        target = getattr(target, parent)
    setattr(target, field, value)
    return request


def test_c044_every_id_of_the_service_is_in_the_matrix() -> None:
    names = {name for name, _ in CASES}
    without = {"CreateAccount", "ListAccounts", "GetSigningKeys"}
    assert names | without == {method.name for method in SERVICE.methods}


@pytest.mark.parametrize(("name", "path"), CASES)
async def test_c044_anothers_id_reads_as_unknown(room: Room, name: str, path: str) -> None:
    _, caller = await room.account("A")
    victim, owner = await room.account("B")
    application_id = await room.application(owner)
    created = await room.call(
        owner,
        room.servicer.CreateCredential,
        pb.CreateCredentialRequest(application_id=application_id, scopes=["account.read"]),
    )
    theirs = {
        "account_id": victim,
        "application_id": application_id,
        "credential_id": created.credential.credential_id,
    }
    field = path.rpartition(".")[2]
    before = room.store.tables.copy()
    answers = []
    for value in (theirs.get(field, "x"), UNKNOWN.get(field, "") + "f" * 32):
        with pytest.raises(DomainError) as caught:
            await room.call(caller, getattr(room.servicer, name), with_id(name, path, value))
        answers.append((type(caught.value), caught.value.message, caught.value.reason))
    assert answers[0] == answers[1]
    assert answers[0][0] in (NotFound, PermissionDenied, Unimplemented)
    assert room.store.tables == before


async def test_c045_a_credential_decides_not_the_body(room: Room) -> None:
    account_id, caller = await room.account("A")
    other, _ = await room.account("B")
    created = await room.call(
        caller,
        room.servicer.CreateApplication,
        pb.CreateApplicationRequest(display_name="x", enabled_regions=["DE"]),
    )
    assert created.application.account_id == account_id
    with pytest.raises(NotFound):
        await room.call(
            caller,
            room.servicer.CreateApplication,
            pb.CreateApplicationRequest(account_id=other, display_name="x", enabled_regions=["DE"]),
        )


async def test_an_operator_acts_for_any_account(room: Room) -> None:
    account_id, owner = await room.account()
    application_id = await room.application(owner)
    issued = await room.call(
        OPERATOR,
        room.servicer.CreateCredential,
        pb.CreateCredentialRequest(application_id=application_id, scopes=["verification.start"]),
    )
    assert issued.credential.account_id == account_id
    assert is_id("CR", issued.credential.credential_id)
    listed = await room.call(
        OPERATOR, room.servicer.ListCredentials, pb.ListCredentialsRequest(account_id=account_id)
    )
    assert [c.credential_id for c in listed.credentials] == [issued.credential.credential_id]
