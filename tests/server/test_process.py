"""The server as a process: its files, its signals, its exit."""

import asyncio
import json
import os
import stat
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import orjson
import pytest
from tests.support.live import ANY_PORT, OWN_CONNECTION, basic

from watchword.verification.v1 import verification_pb2 as pb
from watchword.verification.v1 import verification_pb2_grpc

Process = asyncio.subprocess.Process


def environment(**more: str) -> Mapping[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WATCHWORD_")}
    return {**kept, **ANY_PORT, **more}


async def spawn(directory: Path, *arguments: str, **more: str) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "watchword.cli",
        "serve",
        *arguments,
        cwd=directory,
        env=environment(**more),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@asynccontextmanager
async def serving(directory: Path) -> AsyncIterator[tuple[Process, str]]:
    process = await spawn(directory, "--dev", "--json")
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 20)
        yield process, json.loads(line)["endpoint"]
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def test_sigterm_ends_it_well_and_its_state_serves_again(tmp_path: Path) -> None:
    async with serving(tmp_path) as (process, endpoint):
        process.terminate()
        _, errors = await asyncio.wait_for(process.communicate(), 20)
        assert process.returncode == 0
    events = [orjson.loads(line)["event"] for line in errors.splitlines()]
    assert events == ["serving", "stopping", "stopped"]
    profile = tmp_path / "var" / "dev-credentials.json"
    kept = json.loads(profile.read_text())
    assert kept["endpoint"] == endpoint
    async with serving(tmp_path) as (_, endpoint):
        again = json.loads(profile.read_text())
        assert {**again, "endpoint": ""} == {**kept, "endpoint": ""}
        metadata = basic(again["credential_id"], again["credential_secret"])
        async with grpc.aio.insecure_channel(endpoint, OWN_CONNECTION) as channel:
            stub = verification_pb2_grpc.VerificationServiceStub(channel)
            lookup = pb.LookupPhoneNumberRequest(phone_number="+14155550123")
            assert (await stub.LookupPhoneNumber(lookup, metadata=metadata)).valid


async def test_what_dev_mode_keeps_is_its_owners_alone(tmp_path: Path) -> None:
    async with serving(tmp_path):
        var = tmp_path / "var"
        names = {path.name for path in var.iterdir()}
        assert {"watchword.db", "watchword-keys.db", "dev-credentials.json", "keys"} <= names
        for path in (*var.iterdir(), *(var / "keys").iterdir()):
            assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path.name


async def test_c182_an_unsafe_configuration_exits_with_a_line_for_each_fault(
    tmp_path: Path,
) -> None:
    (tmp_path / "keys").mkdir(mode=0o755)
    (tmp_path / "keys").chmod(0o755)
    (tmp_path / "bad.toml").write_text(
        'listen = "0.0.0.0:1"\nreflection = true\n[carriers.order]\nSMS = ["console"]\n'
        "[carriers.console]\n"
    )
    process = await spawn(
        tmp_path, "--config", "bad.toml", WATCHWORD_LISTEN="0.0.0.0:1", GRPC_TRACE="http"
    )
    _, errors = await asyncio.wait_for(process.communicate(), 20)
    text = errors.decode()
    assert process.returncode == 1
    for line in (
        "listen: plaintext",
        "reflection: not in production",
        "carriers.console: sends nothing",
        "keys.directory: keys are readable by others",
        "GRPC_TRACE",
    ):
        assert line in text
    assert "Traceback" not in text


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0"])
async def test_dev_mode_listens_on_loopback_only(tmp_path: Path, listen: str) -> None:
    process = await spawn(tmp_path, "--dev", WATCHWORD_LISTEN=listen)
    _, errors = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 1
    assert b"--dev listens on loopback only" in errors
    assert not (tmp_path / "var").exists()
