"""A server of this version on the schema of the next one: every kind of row is still written."""

import sqlite3
from contextlib import closing
from pathlib import Path

from google.protobuf.field_mask_pb2 import FieldMask
from tests.stores.next_schema import expand
from tests.support.live import Live, running

from watchword.account.v1 import account_pb2 as account
from watchword.core.ports import DAY
from watchword.testing.clock import FakeClock

TEST_PHONE = "+12125550123"
WRITTEN = (
    "account",
    "application",
    "application_spiffe",
    "credential",
    "test_number",
    "usage_day",
    "account_request",
    "verification",
    "send",
    "request",
)


def counts(path: Path) -> dict[str, int]:
    with closing(sqlite3.connect(path)) as db:
        return {name: db.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in WRITTEN}


async def work(live: Live) -> None:
    """Write a row of each kind."""
    stub, admin = live.account, live.admin
    made = await stub.CreateAccount(
        account.CreateAccountRequest(display_name="Other", request_id="r1"), metadata=admin
    )
    account_id = made.account.account_id
    await stub.UpdateAccount(
        account.UpdateAccountRequest(
            account=account.Account(account_id=account_id, company_name="Other Ltd"),
            update_mask=FieldMask(paths=["company_name"]),
        ),
        metadata=admin,
    )
    created = await stub.CreateApplication(
        account.CreateApplicationRequest(
            account_id=account_id,
            display_name="Shop",
            enabled_regions=["US"],
            spiffe_ids=["spiffe://mesh/ns/shop"],
        ),
        metadata=admin,
    )
    application_id = created.application.application_id
    credential = await stub.CreateCredential(
        account.CreateCredentialRequest(
            account_id=account_id, application_id=application_id, scopes=["verification.start"]
        ),
        metadata=admin,
    )
    await stub.RevokeCredential(
        account.RevokeCredentialRequest(credential_id=credential.credential.credential_id),
        metadata=admin,
    )
    await stub.CreateTestNumber(
        account.CreateTestNumberRequest(
            application_id=live.credentials["application_id"],
            phone_number=TEST_PHONE,
            code="123456",
        ),
        metadata=live.auth,
    )
    started = await live.start("+14155550104", request_id="s1")
    code = await live.code(started.verification_id)
    assert (await live.check(started.verification_id, code)).HasField("approval")
    test = await live.start(TEST_PHONE)
    assert (await live.check(test.verification_id, "123456")).HasField("approval")


async def test_c162_a_restart_on_the_next_schema_serves_every_service(tmp_path: Path) -> None:
    directory, clock = tmp_path / "var", FakeClock()
    store = directory / "watchword.db"
    async with running(directory, clock=clock) as live:
        kept = (await live.start("+14155550105")).verification_id
        code = await live.code(kept)
        # While it serves: what it begins before and ends after is whole.
        expand(store)
        assert (await live.check(kept, code)).HasField("approval")
    before = counts(store)
    clock.advance(DAY)
    async with running(directory, clock=clock) as live:
        await work(live)
    after = counts(store)
    assert [name for name in WRITTEN if after[name] <= before[name]] == []
