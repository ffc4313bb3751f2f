"""The sandbox's certificates: a TLS client that trusts ca.pem accepts server.pem."""

import asyncio
import ssl
import stat
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "deploy" / "certificates.py"


def run(*arguments: str) -> int:
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments], check=False, capture_output=True
    ).returncode


async def handshake(directory: Path, name: str) -> None:
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(directory / "server.pem", directory / "server.key")
    client_side = ssl.create_default_context(cafile=str(directory / "ca.pem"))

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=server_side)
    async with server:
        port = server.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=client_side, server_hostname=name
        )
        writer.close()
        await writer.wait_closed()


async def test_clients_trust_the_names_and_no_other(tmp_path: Path) -> None:
    assert run(str(tmp_path), "localhost", "127.0.0.1") == 0
    await handshake(tmp_path, "localhost")
    await handshake(tmp_path, "127.0.0.1")
    with pytest.raises(ssl.SSLCertVerificationError):
        await handshake(tmp_path, "elsewhere.example.com")


def test_the_key_is_its_owners_alone(tmp_path: Path) -> None:
    run(str(tmp_path), "localhost")
    assert stat.S_IMODE((tmp_path / "server.key").stat().st_mode) == 0o600
    assert not (tmp_path / "ca.key").exists()


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    run(str(tmp_path), "localhost")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert run(str(tmp_path), "localhost") == 0
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_without_names_it_says_how() -> None:
    assert run("somewhere") == 2
