import json

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from tests.account.room import OPERATOR, Room

from watchword.account.v1 import account_pb2 as pb
from watchword.core.errors import (
    FailedPrecondition,
    InvalidArgument,
    PermissionDenied,
    Reason,
    Unimplemented,
)
from watchword.tenancy.model import Scope

TRIAL, ACTIVE, SUSPENDED = (
    pb.ACCOUNT_STATE_TRIAL,
    pb.ACCOUNT_STATE_ACTIVE,
    pb.ACCOUNT_STATE_SUSPENDED,
)


def update(account: pb.Account, *paths: str, phone: str = "") -> pb.UpdateAccountRequest:
    return pb.UpdateAccountRequest(
        account=account, update_mask=FieldMask(paths=paths), contact_phone_number=phone
    )


async def test_a_new_account_is_on_trial_with_the_defaults(room: Room) -> None:
    response = await room.call(
        OPERATOR,
        room.servicer.CreateAccount,
        pb.CreateAccountRequest(
            display_name="Acme",
            contact_email_address="ops@acme.example",
            contact_phone_number="+12025550123",
        ),
    )
    account = response.account
    assert account.state == TRIAL
    assert (account.limits.sends_per_hour, account.limits.sends_per_day) == (1_000, 10_000)
    assert list(account.enabled_regions) == ["*"]
    assert account.contact_phone_hint.endswith("23")
    stored = await room.store.account(account.account_id)
    assert stored is not None
    assert stored.contact_index == room.index.phone(account.account_id, "+12025550123")
    assert "5550123" not in repr(stored)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.CreateAccountRequest(), "display_name"),
        (pb.CreateAccountRequest(display_name="x" * 129), "display_name"),
        (pb.CreateAccountRequest(display_name="a\u202eb"), "display_name"),
        (pb.CreateAccountRequest(display_name="a", company_name="x\n"), "company_name"),
        (
            pb.CreateAccountRequest(display_name="a", contact_email_address="@"),
            "contact_email_address",
        ),
        (
            pb.CreateAccountRequest(display_name="a", contact_phone_number="1"),
            "contact_phone_number",
        ),
        (pb.CreateAccountRequest(display_name="a", enabled_regions=["XX"]), "enabled_regions"),
        (
            pb.CreateAccountRequest(
                display_name="a", limits=pb.AccountLimits(sends_per_hour=100_001)
            ),
            "limits.sends_per_hour",
        ),
        (
            pb.CreateAccountRequest(display_name="a", limits=pb.AccountLimits(sends_per_day=-1)),
            "limits.sends_per_day",
        ),
        (pb.CreateAccountRequest(display_name="a", request_id="x" * 65), "request_id"),
    ],
)
async def test_c054_a_malformed_account_names_its_field(
    room: Room, request_: pb.CreateAccountRequest, field: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await room.call(OPERATOR, room.servicer.CreateAccount, request_)
    assert caught.value.field == field


async def test_suspend_resume_and_the_end_of_a_trial(room: Room) -> None:
    account_id, owner = await room.account()
    servicer = room.servicer
    active = update(pb.Account(account_id=account_id, state=ACTIVE), "state")
    assert (await room.call(OPERATOR, servicer.UpdateAccount, active)).account.state == ACTIVE
    suspend = pb.SuspendAccountRequest(account_id=account_id, reason="unpaid")
    for _ in range(2):
        response = await room.call(OPERATOR, servicer.SuspendAccount, suspend)
        assert response.account.state == SUSPENDED
    with pytest.raises(FailedPrecondition) as caught:
        await room.application(owner)
    assert caught.value.reason is Reason.ACCOUNT_SUSPENDED
    assert (await room.call(OPERATOR, servicer.UpdateAccount, active)).account.state == ACTIVE
    assert await room.application(owner)


async def test_a_suspension_is_seen_at_once_by_the_hot_path(room: Room) -> None:
    account_id, _ = await room.account()
    before = await room.directory.account(account_id)
    await room.call(
        OPERATOR,
        room.servicer.SuspendAccount,
        pb.SuspendAccountRequest(account_id=account_id, reason="fraud"),
    )
    after = await room.directory.account(account_id)
    assert before is not None
    assert after is not None
    assert (before.state, after.state) == ("TRIAL", "SUSPENDED")


@pytest.mark.parametrize("path", ["limits", "enabled_regions", "state"])
async def test_limits_regions_and_state_are_the_operators(room: Room, path: str) -> None:
    account_id, owner = await room.account()
    new = pb.Account(
        account_id=account_id,
        state=ACTIVE,
        enabled_regions=["DE"],
        limits=pb.AccountLimits(sends_per_hour=5, sends_per_day=6),
    )
    with pytest.raises(PermissionDenied):
        await room.call(owner, room.servicer.UpdateAccount, update(new, path))
    response = await room.call(OPERATOR, room.servicer.UpdateAccount, update(new, path))
    changed = getattr(response.account, path)
    assert changed == getattr(new, path)


async def test_the_owner_changes_names_and_contacts_and_only_those_named(room: Room) -> None:
    account_id, owner = await room.account("Old")
    new = pb.Account(
        account_id=account_id, display_name="New", company_name="x", contact_email_address="a@b.de"
    )
    request = update(new, "display_name", "contact_phone_number", phone="+12025550199")
    account = (await room.call(owner, room.servicer.UpdateAccount, request)).account
    assert (account.display_name, account.company_name) == ("New", "")
    assert account.contact_phone_hint.endswith("99")
    cleared = update(pb.Account(account_id=account_id), "contact_phone_number")
    account = (await room.call(owner, room.servicer.UpdateAccount, cleared)).account
    assert account.contact_phone_hint == ""
    assert account.display_name == "New"


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (update(pb.Account(), "display_name"), "account.account_id"),
        (update(pb.Account(account_id="AC")), "update_mask"),
        (update(pb.Account(account_id="AC"), "create_time"), "update_mask"),
        (update(pb.Account(account_id="AC"), "display_name"), "account.display_name"),
        (update(pb.Account(account_id="AC", state=SUSPENDED), "state"), "account.state"),
        (update(pb.Account(account_id="AC"), "state"), "account.state"),
        (update(pb.Account(account_id="AC"), "enabled_regions"), "account.enabled_regions"),
    ],
)
async def test_c054_a_malformed_update_names_its_field(
    room: Room, request_: pb.UpdateAccountRequest, field: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await room.call(OPERATOR, room.servicer.UpdateAccount, request_)
    assert caught.value.field == field


async def test_a_repeated_creation_makes_one_account(room: Room) -> None:
    create = room.servicer.CreateAccount
    request = pb.CreateAccountRequest(display_name="Acme", request_id="r1")
    first = await room.call(OPERATOR, create, request)
    again = await room.call(OPERATOR, create, request)
    assert again.account.account_id == first.account.account_id
    request.display_name = "Other"
    with pytest.raises(FailedPrecondition) as caught:
        await room.call(OPERATOR, create, request)
    assert caught.value.reason is Reason.REQUEST_ID_MISMATCH


async def test_accounts_are_listed_in_pages(room: Room) -> None:
    created = []
    for name in "ABC":
        created.append((await room.account(name))[0])
        room.clock.advance(1)
    seen, token = [], ""
    while True:
        page = await room.call(
            OPERATOR,
            room.servicer.ListAccounts,
            pb.ListAccountsRequest(page_size=2, page_token=token),
        )
        seen += [account.account_id for account in page.accounts]
        token = page.next_page_token
        if not token:
            break
    assert seen == created[::-1]
    with pytest.raises(InvalidArgument) as caught:
        await room.call(
            OPERATOR, room.servicer.ListAccounts, pb.ListAccountsRequest(page_token="no token")
        )
    assert caught.value.field == "page_token"


async def test_an_operator_names_the_account(room: Room) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await room.call(OPERATOR, room.servicer.GetAccount, pb.GetAccountRequest())
    assert caught.value.field == "account_id"
    account_id, owner = await room.account()
    response = await room.call(owner, room.servicer.GetAccount, pb.GetAccountRequest())
    assert response.account.account_id == account_id


async def test_what_does_not_exist_yet_says_so(room: Room) -> None:
    servicer = room.servicer
    for method, request in (
        (servicer.DeleteAccount, pb.DeleteAccountRequest()),
        (servicer.GrantAccess, pb.GrantAccessRequest()),
        (servicer.RevokeAccess, pb.RevokeAccessRequest()),
        (servicer.ListGrants, pb.ListGrantsRequest()),
    ):
        with pytest.raises(Unimplemented):
            await room.call(OPERATOR, method, request)


async def test_signing_keys_are_a_jwks_for_each_use(room: Room) -> None:
    nobody = OPERATOR._replace(scopes=frozenset[Scope]())
    response = await room.call(nobody, room.servicer.GetSigningKeys, pb.GetSigningKeysRequest())
    (receipts,) = response.key_sets
    assert receipts.use == pb.KEY_USE_RECEIPT
    (key,) = json.loads(receipts.jwks)["keys"]
    assert (key["kty"], key["crv"], key["alg"]) == ("OKP", "Ed25519", "EdDSA")
    assert "d" not in key
