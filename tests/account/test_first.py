import pytest
from tests.account.room import OPERATOR, Room

from watchword.account.first import create_operator, set_up_dev
from watchword.account.v1 import account_pb2 as pb
from watchword.core.errors import FailedPrecondition, Reason
from watchword.tenancy.model import GRANTABLE, AccountState, Caller, Scope
from watchword.vault.derive import credential_matches


async def test_the_first_operator_is_made_once_and_can_make_everything_else(room: Room) -> None:
    parts = (room.store, room.provider, room.clock, room.entropy)
    made = await create_operator(*parts)
    row = await room.store.credential(made.credential.credential_id)
    assert row == made.credential
    assert row.account_id == ""
    assert Scope.OPERATOR in row.scopes
    assert credential_matches(
        room.provider, row.credential_id, made.secret.reveal(), row.secret_hash
    )
    with pytest.raises(FailedPrecondition) as caught:
        await create_operator(*parts)
    assert caught.value.reason is Reason.CREDENTIAL_LIMIT
    second = await create_operator(*parts, first=False)
    assert second.secret.reveal() != made.secret.reveal()
    caller = Caller("", "", row.credential_id, row.scopes)
    account_id, _ = await room.account()
    issued = await room.call(
        caller,
        room.servicer.CreateCredential,
        pb.CreateCredentialRequest(account_id=account_id, scopes=sorted(GRANTABLE)),
    )
    assert issued.secret


async def test_a_dev_store_starts_with_two_ways_in(room: Room) -> None:
    made = await set_up_dev(room.store, room.provider, room.clock, room.entropy, "dev")
    account = await room.store.account(made.account_id)
    application = await room.store.application(made.application_id)
    assert account is not None
    assert application is not None
    assert account.state is AccountState.ACTIVE
    assert (account.sends_per_hour, account.sends_per_day) == (10**9, 10**9)
    assert application.region_enabled("ZW")
    assert application.channels == {"SMS"}
    assert made.application.credential.scopes == GRANTABLE
    assert made.application.credential.application_id == made.application_id
    assert Scope.OPERATOR in made.admin.credential.scopes
    assert await room.store.credential(made.admin.credential.credential_id) is not None


async def test_a_second_set_up_ends_the_operator_whose_secret_was_lost(room: Room) -> None:
    parts = (room.store, room.provider, room.clock, room.entropy, "sandbox")
    made = [await set_up_dev(*parts) for _ in range(4)]
    rows = [await room.store.credential(m.admin.credential.credential_id) for m in made]
    assert [row is not None and row.live(room.clock.now()) for row in rows] == [
        False,
        False,
        False,
        True,
    ]


async def test_production_has_no_dev_set_up(room: Room) -> None:
    with pytest.raises(FailedPrecondition):
        await set_up_dev(room.store, room.provider, room.clock, room.entropy, "production")
    assert not room.store.tables.accounts


async def test_an_operators_credential_can_be_revoked_by_operators_alone(room: Room) -> None:
    made = await create_operator(room.store, room.provider, room.clock, room.entropy)
    _, owner = await room.account()
    request = pb.RevokeCredentialRequest(credential_id=made.credential.credential_id)
    with pytest.raises(Exception, match="no such credential"):
        await room.call(owner, room.servicer.RevokeCredential, request)
    response = await room.call(OPERATOR, room.servicer.RevokeCredential, request)
    assert response.credential.state == pb.CREDENTIAL_STATE_REVOKED
