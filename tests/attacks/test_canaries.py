"""Marked secrets go through every flow; afterwards they are looked for wherever people look."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from tests.attacks.conftest import site_config
from tests.attacks.site import Site, Tenant, wrong
from tests.support.live import running
from tests.support.status import details

from watchword.account.v1 import account_pb2 as account
from watchword.core.ports import MINUTE, SECOND
from watchword.telemetry.logs import DEBUG
from watchword.testing.clock import FakeClock
from watchword.verification.v1 import verification_pb2 as pb

# Eight digits and more: six would turn up in some id by chance.
POLICY = pb.CodePolicy(length=8)
BINDING = b"canary-session-5d1c"
ACTION = {"amount": "canary-amount-77"}
EVIDENCE = "canary-passport-X1Z9"
OWN_CODE = "7392048165"
TEST_CODE = "48291537"
EMAIL = "canary-person@example.org"
CONTACT = "+12124999123"
SCRIPTED = [f"+1212555{number:04}" for number in (180, 182, 183, 184, 185, 187, 188, 189, 194)]


class Canaries:
    """Everything that must be seen nowhere, by what it is."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {
            "binding": BINDING.decode(),
            "action": ACTION["amount"],
            "evidence": EVIDENCE,
            "own code": OWN_CODE,
            "test number's code": TEST_CODE,
            "e-mail address": EMAIL,
            "contact": CONTACT[2:],
        }

    def secret(self, value: str) -> None:
        self.found[f"secret {len(self.found)}"] = value

    def phone(self, number: str) -> str:
        # Without + and country code, however it may be written before them.
        self.found[f"phone {len(self.found)}"] = number[2:]
        return number

    def code(self, value: str) -> str:
        self.found[f"code {len(self.found)}"] = value
        return value

    def seen_in(self, text: str) -> list[str]:
        return [name for name, value in self.found.items() if value in text]


class Collected(logging.Handler):
    """Keeps whatever any library logs, tracebacks included."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter("%(name)s %(message)s %(args)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def collected() -> Iterator[Collected]:
    root, handler = logging.getLogger(), Collected()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)


async def refused(call: Any, errors: list[str]) -> None:
    """Make a call and keep what its error says, if it fails."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        found = details(error)
        errors.append(f"{found.message} {found.raw.decode('latin-1')} {error!s}")


async def live_through(site: Site, tenant: Tenant, canaries: Canaries, errors: list[str]) -> None:
    """Run each flow, its refusals and its faults."""
    fits: dict[str, Any] = {"action": ACTION, "binding": BINDING}
    phone = canaries.phone(site.phone())
    verification_id, code = await tenant.started(
        phone, code_policy=POLICY, request_id="canary-request", tags={"order": "1"}, **fits
    )
    canaries.code(code)
    await tenant.check(verification_id, canaries.code(wrong(code)), **fits)
    await refused(tenant.start(phone, **fits), errors)
    await refused(tenant.check(verification_id, code[:7], **fits), errors)
    await refused(tenant.check(verification_id, code + "x", **fits), errors)
    site.pass_time(MINUTE)
    await tenant.resend(verification_id)
    await tenant.check(verification_id, code, purpose="other")
    reply = await tenant.check(verification_id, code, request_id="canary-check", **fits)
    canaries.secret(reply.approval.receipt.rpartition(".")[2])
    await tenant.check(verification_id, code, request_id="canary-check", **fits)
    await refused(tenant.check(verification_id, code, request_id="canary-request"), errors)
    await tenant.quota(phone)
    stub = site.live.verification
    await stub.RebindPhone(
        pb.RebindPhoneRequest(phone_number=phone, reason="lost", evidence=EVIDENCE),
        metadata=tenant.auth,
    )
    await stub.LookupPhoneNumber(
        pb.LookupPhoneNumberRequest(phone_number=phone), metadata=tenant.auth
    )
    await stub.ListVerifications(
        pb.ListVerificationsRequest(phone_number=phone), metadata=tenant.auth
    )
    own, _ = await tenant.started(canaries.phone(site.phone()), custom_code=OWN_CODE)
    await tenant.check(own, OWN_CODE)
    for bad in (f"{phone}x", f"{phone} ext. 5", f"{phone}\x00", phone[1:]):
        await refused(tenant.start(bad), errors)
    await refused(tenant.start(phone, custom_code="11111111"), errors)
    await refused(tenant.start(phone, tags={"k": f"{EVIDENCE}\x00"}), errors)
    for scripted in SCRIPTED:
        await tenant.start(canaries.phone(scripted), code_policy=POLICY)
    for _ in range(8):
        site.pass_time(2 * SECOND)
        await asyncio.sleep(0.01)
    await break_down(site, tenant, canaries, errors)


async def break_down(site: Site, tenant: Tenant, canaries: Canaries, errors: list[str]) -> None:
    """Let parts fail with texts that hold what they must not tell."""
    phone = canaries.phone(site.phone())
    parts = site.live.server.parts

    class Broken:
        def __getattr__(self, name: str) -> Any:
            async def fail(*_: object, **__: object) -> None:
                raise RuntimeError(f"{phone} {EVIDENCE} {OWN_CODE}")

            return fail

    for owner, name in ((parts.verification, "store"), (parts.verification, "directory")):
        kept = getattr(owner, name)
        setattr(owner, name, Broken())
        await refused(tenant.start(phone), errors)
        setattr(owner, name, kept)
    carrier: Any = parts.carriers["sandbox"]
    carrier.send = Broken().send
    started = await tenant.start(phone)
    site.pass_time(SECOND)
    await asyncio.sleep(0.05)
    del carrier.send
    assert len((await tenant.get(started.verification_id)).sends) == 1


async def test_c127_no_secret_is_in_any_log_metric_or_error(
    tmp_path: Path, collected: Collected, capfd: pytest.CaptureFixture[str]
) -> None:
    clock, directory, errors = FakeClock(), tmp_path / "var", list[str]()
    canaries = Canaries()
    config = site_config(directory)
    async with running(directory, config=config, clock=clock, log_level=DEBUG) as live:
        site = Site(live, clock)
        tenant = await site.tenant(contact=CONTACT)
        await site.update(tenant.application_id, "custom_code_granted", custom_code_granted=True)
        for metadata in (tenant.auth, live.auth, live.admin):
            canaries.secret(str(metadata[0][1]).removeprefix("Basic "))
        for name in ("credential_secret", "admin_credential_secret"):
            canaries.secret(live.credentials[name])
        await live.account.CreateTestNumber(
            account.CreateTestNumberRequest(
                application_id=tenant.application_id,
                phone_number=canaries.phone("+12025550123"),
                code=TEST_CODE,
            ),
            metadata=tenant.auth,
        )
        await refused(
            live.account.CreateAccount(
                account.CreateAccountRequest(
                    display_name="x", contact_email_address=EMAIL, contact_phone_number="+1"
                ),
                metadata=live.admin,
            ),
            errors,
        )
        await live_through(site, tenant, canaries, errors)
        for message in live.messages:
            if len(message.code.reveal()) >= 8:
                canaries.code(message.code.reveal())
        places = await seen(site)
    shown = capfd.readouterr()
    places["log"] = b"".join(live.raw_lines).decode()
    places["libraries' logs"] = "\n".join(collected.lines)
    places["errors"] = "\n".join(errors)
    places["standard output"] = shown.out + shown.err
    # Each place was written to, and the flows did go where they should.
    for name in ("log", "errors", "metrics"):
        assert places[name]
    events = {line["event"] for line in live.lines}
    assert {"call", "fault", "a carrier raised what it must not"} <= events
    assert len(errors) > 10
    found = {name: canaries.seen_in(text) for name, text in places.items()}
    assert not {name: seen_there for name, seen_there in found.items() if seen_there}


async def seen(site: Site) -> dict[str, str]:
    """Return what anybody beside the API may read, and what lies in the store's files."""
    places = {}
    async with aiohttp.ClientSession() as session:
        for path in ("/metrics", "/livez", "/readyz", "/.well-known/jwks.json"):
            async with session.get(site.live.http + path) as reply:
                places[path.removeprefix("/")] = str(dict(reply.headers)) + await reply.text()
    directory = Path(site.live.server.config.store.path).parent
    for file in sorted(directory.rglob("*.db*")):
        places[f"file {file.name}"] = file.read_bytes().decode("latin-1")
    assert len(places) >= 6
    return places
