"""The client against a real dev server, as a back end would use it."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from watchword.cli.demo_server import DemoServer
from watchword.client import Approved, Client, NotFound, Rejected, verify_receipt
from watchword.client import verification_pb2 as pb

PHONE = "+14155550121"
ACTION = {"amount": "10.00 EUR", "payee": "Zoë"}


@pytest.fixture(scope="module")
def dev_server() -> Iterator[DemoServer]:
    with DemoServer() as server:
        yield server


def connect(server: DemoServer) -> Client:
    profile = server.profile
    return Client(server.endpoint, profile["credential_id"], profile["credential_secret"])


async def test_a_back_end_gets_a_receipt_that_verifies_offline(dev_server: DemoServer) -> None:
    async with connect(dev_server) as client:
        started = await client.start(PHONE, purpose="pay", action=ACTION, binding=b"s1")
        code = dev_server.message_for(started.verification_id)["code"]
        rejected = await client.check(
            code, verification_id=started.verification_id, purpose="pay", binding=b"s1"
        )
        assert isinstance(rejected, Rejected)
        assert rejected.checks_remaining == 4  # the action was missing
        outcome = await client.check(
            code, phone_number=PHONE, purpose="pay", action=ACTION, binding=b"s1"
        )
        assert isinstance(outcome, Approved)
        receipt = verify_receipt(
            outcome.receipt,
            await client.receipt_keys(),
            audience=dev_server.profile["application_id"],
            purpose="pay",
            action=ACTION,
            salts=outcome.salts,
            phone_number=PHONE,
            issuer="watchword-dev",
            allow_test=True,
        )
        assert receipt.verification_id == started.verification_id
        assert (receipt.method, receipt.code_origin) == ("sms", "derived")


async def test_a_repeated_request_has_one_effect(dev_server: DemoServer) -> None:
    async with connect(dev_server) as client:
        first = await client.start("+14155550122", request_id="one")
        second = await client.start("+14155550122", request_id="one")
        assert first.verification_id == second.verification_id
        assert len((await client.get(first.verification_id)).sends) == 1


async def test_watch_ends_when_the_verification_has(dev_server: DemoServer) -> None:
    states = []
    async with connect(dev_server) as client:
        started = await client.start("+14155550123")
        async for verification in client.watch(started.verification_id):
            states.append(verification.state)
            if verification.sends[0].state == pb.SEND_STATE_SUBMITTED and len(states) < 5:
                await client.cancel(started.verification_id)
    assert states[0] == pb.VERIFICATION_STATE_PENDING
    assert states[-1] == pb.VERIFICATION_STATE_CANCELED


async def test_another_s_verification_is_not_found(dev_server: DemoServer) -> None:
    async with connect(dev_server) as client:
        with pytest.raises(NotFound) as caught:
            await client.get("VE" + "0" * 40)
    assert caught.value.reason == "VERIFICATION_NOT_FOUND"


def test_the_client_loads_nothing_of_the_server() -> None:
    code = (
        "import sys, watchword.client\n"
        "ours = {m for m in sys.modules if m.startswith('watchword.')}\n"
        "print(sorted(m for m in ours if m.split('.')[1] not in\n"
        "    ('client', 'verification', 'account') or m.count('.') > 1 and '.v1' not in m\n"
        "    and '.client' not in m))\n"
        "print(sorted({'aiohttp', 'orjson', 'phonenumbers', 'prometheus_client', 'uvloop',\n"
        "    'typer', 'rich', 'uuid_utils'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "[]"]
