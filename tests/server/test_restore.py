"""A deployment that was restored serves: what was decided stands, what was open is over."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
import pytest_asyncio
from tests.support.live import Live, running, sandbox_config
from tests.support.status import details

from watchword.account.v1 import account_pb2 as account
from watchword.client import verify_receipt
from watchword.config import Config, ConfigError
from watchword.core.ports import SECOND
from watchword.server import run, upkeep
from watchword.server.dev import CREDENTIALS
from watchword.server.manifest import BackupRefused, Manifest
from watchword.testing.clock import FakeClock
from watchword.verification.v1 import verification_pb2 as pb

PHONE, OTHER, TEST_PHONE = "+14155550101", "+14155550102", "+12125550123"
REASON = pb.RejectionReason


# It stands still: what a limit or an expiry says is as it was.
CLOCK = FakeClock()


def quiet(_work: str, _done: int, _total: int) -> None:
    pass


@dataclass
class Past:
    """What a deployment was asked before its backup, and what it answered."""

    directory: Path
    backup: Path
    keys: Path
    manifest: Manifest
    approval: pb.Approval
    approved: str
    approved_code: str
    pending: str
    code: str
    quotas: dict[str, tuple[int, int]]

    @property
    def config(self) -> Config:
        """Of the place to restore to: another directory, with the same root keys."""
        return sandbox_config(self.directory)


async def quotas(live: Live, phone_number: str) -> dict[str, tuple[int, int]]:
    request = pb.GetQuotaRequest(phone_number=phone_number)
    reply = await live.verification.GetQuota(request, metadata=live.auth)
    return {pb.QuotaName.Name(each.name): (each.limit, each.used) for each in reply.quotas}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lost(tmp_path_factory: pytest.TempPathFactory) -> Past:
    """Let a deployment live a little, take its backup while it serves, and lose it."""
    root = tmp_path_factory.mktemp("lost")
    old, new, backup, keys = (root / name for name in ("old", "new", "backup", "keys"))
    async with running(old, clock=CLOCK) as live:
        approved = (await live.start(PHONE, purpose="login")).verification_id
        approved_code = await live.code(approved)
        reply = await live.check(approved, approved_code, purpose="login", request_id="check 1")
        pending = (await live.start(OTHER, request_id="start 2")).verification_id
        code = await live.code(pending)
        for _ in range(2):
            await live.check(pending, f"{(int(code) + 1) % 10**6:06}")
        number = account.CreateTestNumberRequest(
            application_id=live.credentials["application_id"],
            phone_number=TEST_PHONE,
            code="123456",
        )
        await live.account.CreateTestNumber(number, metadata=live.auth)
        manifest = await upkeep.backup(live.server.config, backup, keys, quiet, clock=CLOCK)
        counted = await quotas(live, OTHER)
        # After the backup: what a restore must not undo into a second approval.
        assert (await live.check(pending, code)).HasField("approval")
    new.mkdir(mode=0o700)
    shutil.copytree(old / "keys", new / "keys")
    shutil.copy(old / CREDENTIALS, new / CREDENTIALS)
    return Past(
        directory=new,
        backup=backup,
        keys=keys,
        manifest=manifest,
        approval=reply.approval,
        approved=approved,
        approved_code=approved_code,
        pending=pending,
        code=code,
        quotas=counted,
    )


@pytest.fixture
def past(lost: Past, tmp_path: Path) -> Past:
    """Give a test a copy of its own of what is left."""

    def copy(directory: Path) -> Path:
        return Path(shutil.copytree(directory, tmp_path / directory.name))

    return replace(
        lost, directory=copy(lost.directory), backup=copy(lost.backup), keys=copy(lost.keys)
    )


@asynccontextmanager
async def restored(past: Past) -> AsyncIterator[Live]:
    await upkeep.restore(past.config, past.backup, past.keys, quiet, clock=CLOCK)
    async with running(past.directory, clock=CLOCK) as live:
        yield live


async def test_what_was_approved_stays_and_its_receipt_verifies(past: Past) -> None:
    async with restored(past) as live:
        request = pb.GetVerificationRequest(verification_id=past.approved)
        got = await live.verification.GetVerification(request, metadata=live.auth)
        assert got.verification.state == pb.VERIFICATION_STATE_APPROVED
        again = await live.check(past.approved, "000000", purpose="login")
        assert again.rejection.reason == REASON.REJECTION_REASON_ALREADY_USED
        asked = {"purpose": "login", "request_id": "check 1"}
        repeated = await live.check(past.approved, past.approved_code, **asked)
        assert repeated.approval == past.approval
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{live.http}/.well-known/jwks.json") as reply,
        ):
            keys = await reply.text()
        receipt = verify_receipt(
            past.approval.receipt,
            keys,
            audience=live.credentials["application_id"],
            purpose="login",
            action={},
            salts=past.approval.salts,
            phone_number=PHONE,
            allow_test=True,
            now=lambda: CLOCK.now() / SECOND,
        )
        assert receipt.verification_id == past.approved


async def test_what_was_pending_is_over_and_its_budget_is_not_refilled(past: Past) -> None:
    async with restored(past) as live:
        reply = await live.check(past.pending, past.code)
        assert reply.rejection.reason == REASON.REJECTION_REASON_CANCELED
        assert await quotas(live, OTHER) == past.quotas
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await live.start(OTHER)
        assert details(caught.value).reason == "SEND_COOLDOWN"
        repeated = await live.start(OTHER, request_id="start 2")
        assert repeated.verification_id == past.pending
        assert repeated.state == pb.VERIFICATION_STATE_CANCELED
        assert live.messages == []


async def test_new_verifications_and_test_numbers_work(past: Past) -> None:
    async with restored(past) as live:
        started = await live.start("+14155550103")
        approval = await live.check(
            started.verification_id, await live.code(started.verification_id)
        )
        assert approval.HasField("approval")
        test = await live.start(TEST_PHONE)
        assert (await live.check(test.verification_id, "123456")).HasField("approval")
        assert not [m for m in live.messages if m.verification_id == test.verification_id]


async def test_init_leaves_a_restored_deployment_alone(past: Past) -> None:
    done = await upkeep.restore(past.config, past.backup, past.keys, quiet, clock=CLOCK)
    assert done.load.voided == 1
    with pytest.raises(ConfigError, match="init makes new deployments only"):
        await run.initialise(past.config)


async def test_without_its_keys_a_backup_says_so_and_serves(past: Past) -> None:
    shutil.rmtree(past.keys)
    done = await upkeep.restore(past.config, past.backup, None, quiet, clock=CLOCK)
    assert not done.with_keys
    async with running(past.directory, clock=CLOCK) as live:
        reply = await live.check(past.pending, past.code)
        assert reply.rejection.reason == REASON.REJECTION_REASON_CANCELED


def spoil(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def rewrite(path: Path, **fields: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def damage_data(past: Past) -> None:
    spoil(past.backup / "watchword.db")


def damage_keys(past: Past) -> None:
    spoil(past.keys / "watchword-keys.db")


def cut_data(past: Past) -> None:
    path = past.backup / "watchword.db"
    path.write_bytes(path.read_bytes()[:-1])


def lose_data(past: Past) -> None:
    (past.backup / "watchword.db").unlink()


def lose_keys(past: Past) -> None:
    (past.keys / "watchword-keys.db").unlink()


def lose_manifest(past: Past) -> None:
    (past.backup / "manifest.json").unlink()


def lose_keys_directory(past: Past) -> None:
    shutil.rmtree(past.keys)


def spoil_manifest(past: Past) -> None:
    (past.backup / "manifest.json").write_text("{")


def lead_out(past: Past) -> None:
    manifest = json.loads((past.backup / "manifest.json").read_text())
    rewrite(past.backup / "manifest.json", data={**manifest["data"], "file": "../old/watchword.db"})


def another_format(past: Past) -> None:
    rewrite(past.backup / "manifest.json", format=2)


def another_world(past: Past) -> None:
    rewrite(past.backup / "manifest.json", world="production")


def another_backup_s_keys(past: Past) -> None:
    rewrite(past.keys / "manifest.json", backup_id="BK" + "0" * 32)


REFUSALS = {
    damage_data: "watchword.db: is damaged",
    damage_keys: "watchword-keys.db: is damaged",
    cut_data: "watchword.db: is damaged",
    lose_data: "watchword.db: cannot be read",
    lose_keys: "watchword-keys.db: cannot be read",
    lose_manifest: "no whole backup",
    lose_keys_directory: "no whole backup",
    spoil_manifest: "manifest.json: cannot be read",
    lead_out: "not a manifest that this version knows",
    another_format: "not a manifest that this version knows",
    another_world: "of the world 'production'",
    another_backup_s_keys: "keys of another backup",
}


@pytest.mark.parametrize(("harm", "says"), REFUSALS.items(), ids=[f.__name__ for f in REFUSALS])
async def test_what_is_not_whole_is_refused_and_nothing_is_made(
    past: Past, harm: Any, says: str
) -> None:
    harm(past)
    before = sorted(past.directory.iterdir())
    with pytest.raises(BackupRefused) as refused:
        await upkeep.restore(past.config, past.backup, past.keys, quiet, clock=CLOCK)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
    assert sorted(past.directory.iterdir()) == before


async def test_another_deployments_root_keys_are_refused(past: Past, tmp_path: Path) -> None:
    async with running(tmp_path / "stranger"):
        pass
    shutil.rmtree(past.directory / "keys")
    shutil.copytree(tmp_path / "stranger" / "keys", past.directory / "keys")
    before = sorted(past.directory.iterdir())
    with pytest.raises(Exception, match="not the one this store was made with") as refused:
        await upkeep.restore(past.config, past.backup, past.keys, quiet, clock=CLOCK)
    assert "\n" not in str(refused.value)
    assert sorted(past.directory.iterdir()) == before


async def test_a_backup_goes_into_directories_of_its_own(past: Past, tmp_path: Path) -> None:
    await upkeep.restore(past.config, past.backup, past.keys, quiet, clock=CLOCK)
    for to, keys_to, says in (
        (past.backup, tmp_path / "k", "is not empty"),
        (tmp_path / "b", past.keys, "is not empty"),
        (tmp_path / "b", tmp_path / "b", "apart"),
        (tmp_path / "b", tmp_path / "b" / "k", "apart"),
        (tmp_path / "k" / "b", tmp_path / "k", "apart"),
    ):
        with pytest.raises(BackupRefused, match=says):
            await upkeep.backup(past.config, to, keys_to, quiet)
        assert not (tmp_path / "b").exists()
        assert not (tmp_path / "k").exists()
    assert Manifest.read(past.backup) == past.manifest


async def test_a_failed_backup_leaves_nothing(past: Past, tmp_path: Path) -> None:
    absent = replace(past.config, store=replace(past.config.store, path=str(tmp_path / "none.db")))
    (tmp_path / "b").mkdir()
    with pytest.raises(Exception, match="nothing to back up"):
        await upkeep.backup(absent, tmp_path / "b", tmp_path / "k", quiet)
    assert list((tmp_path / "b").iterdir()) == []
    assert not (tmp_path / "k").exists()


async def test_a_backup_holds_no_root_key_and_is_private(past: Past) -> None:
    roots = [
        line.removeprefix("key = ")
        for path in (past.directory / "keys").iterdir()
        for line in path.read_text().splitlines()
        if line.startswith("key = ")
    ]
    assert roots
    for directory in (past.backup, past.keys):
        assert directory.stat().st_mode & 0o777 == 0o700
        for path in directory.iterdir():
            assert path.stat().st_mode & 0o777 == 0o600
            content = path.read_bytes()
            assert not [r for r in roots if r.encode() in content or bytes.fromhex(r) in content]


async def test_calls_are_served_while_a_backup_is_made(tmp_path: Path) -> None:
    async with running(tmp_path / "var") as live:
        config = live.server.config
        copying = asyncio.create_task(
            asyncio.to_thread(
                asyncio.run, upkeep.backup(config, tmp_path / "b", tmp_path / "k", quiet)
            )
        )
        started = [await live.start(f"+1212400{number:04}") for number in range(30)]
        manifest = await copying
        assert len({each.verification_id for each in started}) == 30
        # Whole: every message that it holds belongs to a verification that it holds.
        assert manifest.counts["send"] == manifest.counts["verification"]
