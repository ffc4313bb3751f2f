import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from tests.account.room import OPERATOR, Room

from watchword.account.v1 import account_pb2 as pb
from watchword.core.errors import FailedPrecondition, InvalidArgument, PermissionDenied, Reason
from watchword.core.ports import DAY, SECOND
from watchword.tenancy.model import GRANTABLE, Caller, Scope
from watchword.vault.derive import credential_matches


def wanted(application_id: str = "", *scopes: str, **fields: object) -> pb.CreateCredentialRequest:
    return pb.CreateCredentialRequest(
        application_id=application_id,
        scopes=scopes or ["verification.start"],
        **fields,  # type: ignore[arg-type]
    )


async def test_the_secret_is_long_shown_once_and_kept_as_a_keyed_hash(room: Room) -> None:
    _, owner = await room.account()
    application_id = await room.application(owner)
    request = wanted(application_id, request_id="r")
    issued = await room.call(owner, room.servicer.CreateCredential, request)
    assert not issued.secret_omitted
    assert len(issued.secret) == 43  # 32 bytes, base64url
    row = await room.store.credential(issued.credential.credential_id)
    assert row is not None
    assert credential_matches(room.provider, row.credential_id, issued.secret, row.secret_hash)
    assert issued.secret not in repr(room.store.tables)
    again = await room.call(owner, room.servicer.CreateCredential, request)
    assert (again.secret, again.secret_omitted) == ("", True)
    assert again.credential == issued.credential


async def test_no_two_secrets_are_alike(room: Room) -> None:
    _, owner = await room.account()
    issued = [await room.call(owner, room.servicer.CreateCredential, wanted()) for _ in range(2)]
    assert issued[0].secret != issued[1].secret


@pytest.mark.parametrize("scope", sorted(GRANTABLE))
async def test_c051_nobody_grants_what_they_lack(room: Room, scope: Scope) -> None:
    account_id, _ = await room.account()
    has = Caller(account_id, "", "CRa", frozenset({Scope.ACCOUNT_ADMIN, scope}))
    lacks = Caller(account_id, "", "CRb", GRANTABLE - {scope})
    with pytest.raises(PermissionDenied):
        await room.call(lacks, room.servicer.CreateCredential, wanted("", scope))
    issued = await room.call(has, room.servicer.CreateCredential, wanted("", scope))
    assert list(issued.credential.scopes) == [scope]


async def test_c051_operator_is_never_granted(room: Room) -> None:
    account_id, owner = await room.account()
    for caller in (owner, OPERATOR):
        with pytest.raises(PermissionDenied):
            await room.call(
                caller,
                room.servicer.CreateCredential,
                wanted("", "operator", account_id=account_id),
            )


async def test_c048_a_revocation_holds_at_once(room: Room) -> None:
    _, owner = await room.account()
    issued = await room.call(owner, room.servicer.CreateCredential, wanted())
    credential_id = issued.credential.credential_id
    cached = await room.directory.credential(credential_id)
    assert cached is not None
    assert cached.live(room.clock.now())
    revoke = pb.RevokeCredentialRequest(credential_id=credential_id)
    for _ in range(2):
        response = await room.call(owner, room.servicer.RevokeCredential, revoke)
        assert response.credential.state == pb.CREDENTIAL_STATE_REVOKED
    seen = await room.directory.credential(credential_id)
    assert seen is not None
    assert not seen.live(room.clock.now())


async def test_rotation_needs_no_downtime(room: Room) -> None:
    _, owner = await room.account()
    application_id = await room.application(owner)
    create, request = room.servicer.CreateCredential, wanted(application_id)
    old = await room.call(owner, create, request)
    new = await room.call(owner, create, request)
    with pytest.raises(FailedPrecondition) as caught:
        await room.call(owner, create, request)
    assert caught.value.reason is Reason.CREDENTIAL_LIMIT
    await room.call(
        owner,
        room.servicer.RevokeCredential,
        pb.RevokeCredentialRequest(credential_id=old.credential.credential_id),
    )
    await room.call(owner, create, request)
    listed = await room.call(
        owner,
        room.servicer.ListCredentials,
        pb.ListCredentialsRequest(application_id=application_id),
    )
    states = {c.credential_id: c.state for c in listed.credentials}
    assert len(states) == 3
    assert states[old.credential.credential_id] == pb.CREDENTIAL_STATE_REVOKED
    assert states[new.credential.credential_id] == pb.CREDENTIAL_STATE_ACTIVE


async def test_a_lifetime_comes_in_two_ways_and_goes_out_in_one(room: Room) -> None:
    _, owner = await room.account()
    ends = room.clock.now() + DAY
    for lifetime in (
        {"ttl": Duration(seconds=DAY // SECOND)},
        {"expire_time": Timestamp(seconds=ends // SECOND)},
    ):
        issued = await room.call(
            owner,
            room.servicer.CreateCredential,
            wanted(**lifetime),
        )
        assert issued.credential.expire_time.seconds * SECOND == ends


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.CreateCredentialRequest(), "scopes"),
        (wanted("", "verification.*"), "scopes"),
        (wanted("", "verification.start", display_name="x" * 129), "display_name"),
        (wanted(ttl=Duration()), "ttl"),
        (wanted(ttl=Duration(seconds=-1)), "ttl"),
        (wanted(ttl=Duration(seconds=315_576_000_000)), "ttl"),
        (wanted(expire_time=Timestamp()), "expire_time"),
        (wanted(expire_time=Timestamp(seconds=1)), "expire_time"),
        (wanted(request_id="\x00"), "request_id"),
    ],
)
async def test_c054_a_malformed_credential_names_its_field(
    room: Room, request_: pb.CreateCredentialRequest, field: str
) -> None:
    _, owner = await room.account()
    with pytest.raises(InvalidArgument) as caught:
        await room.call(owner, room.servicer.CreateCredential, request_)
    assert caught.value.field == field
    assert not room.store.tables.credentials
