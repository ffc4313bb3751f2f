"""The wheel, built from the sources alone and installed alone: what a back end gets."""

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from watchword.cli.demo_server import DemoServer

# Builds and servers keep the processors busy: one at a time.
pytestmark = pytest.mark.xdist_group("processes")

ROOT = Path(__file__).parents[2]
FILES = ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE")
# What only the server, the command line or a carrier needs.
SERVER_ONLY = (
    "aiohttp",
    "grpc_health",
    "grpc_reflection",
    "orjson",
    "phonenumbers",
    "prometheus_client",
    "rich",
    "twilio",
    "typer",
    "uuid_utils",
    "uvloop",
)
PHONE = "+14155550177"
# Runs in the empty environment; says on stdout what it saw.
BACK_END = """
import asyncio, json, sys, time
from importlib.util import find_spec

from watchword.client import Approved, Client, Rejected, verify_receipt

profile, journal, names, PHONE = json.load(sys.stdin)


async def code_of(verification_id):
    while True:
        try:
            with open(journal) as file:
                lines = file.read().splitlines()
        except FileNotFoundError:
            lines = []
        for message in map(json.loads, lines):
            if message["verification_id"] == verification_id:
                return message["code"]
        await asyncio.sleep(0.02)


async def main():
    credential = profile["credential_id"], profile["credential_secret"]
    async with Client(profile["endpoint"], *credential) as client:
        started = await client.start(PHONE, purpose="login", binding=b"session")
        code = await asyncio.wait_for(code_of(started.verification_id), 20)
        wrong = f"{(int(code) + 1) % 1_000_000:06d}"
        of = {"verification_id": started.verification_id, "purpose": "login",
              "binding": b"session"}
        rejected = await client.check(wrong, **of)
        assert isinstance(rejected, Rejected) and rejected.checks_remaining == 4
        approved = await client.check(code, **of)
        assert isinstance(approved, Approved)
        receipt = verify_receipt(
            approved.receipt, await client.receipt_keys(), audience=profile["application_id"],
            purpose="login", action={}, salts=approved.salts, phone_number=PHONE,
            issuer="watchword-dev", allow_test=True,
        )
        assert receipt.verification_id == started.verification_id
    import watchword.client
    print(json.dumps({
        "present": [name for name in names if find_spec(name)],
        "loaded": [name for name in names if name in sys.modules],
        "from": watchword.client.__file__,
    }))


asyncio.run(main())
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy that holds nothing generated."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in ("services", "adapters"):
        generated = shutil.ignore_patterns("v1", "__pycache__", ".stubs-*")
        shutil.copytree(ROOT / name, source / name, ignore=generated)
    shutil.copytree(ROOT / "protos", source / "protos")
    for name in FILES:
        shutil.copy(ROOT / name, source / name)
    # Not isolated: the development environment has what a build needs, and no index is asked.
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> list[PurePosixPath]:
    with zipfile.ZipFile(wheel) as archive:
        return [PurePosixPath(name) for name in archive.namelist()]


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel and its base dependencies, nothing else; returns the scripts' place."""
    place = tmp_path_factory.mktemp("empty")
    venv.create(place, with_pip=False, symlinks=True)
    python = place / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, "install", "--quiet", "--only-binary", ":all:", str(wheel)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and not os.environ.get("CI") and "No matching distribution" in done.stderr:
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, done.stderr
    return python.parent


@pytest.fixture(scope="module")
def dev_server() -> Iterator[DemoServer]:
    with DemoServer() as server:
        yield server


def test_a_back_end_runs_on_the_base_dependencies_alone(
    environment: Path, dev_server: DemoServer, tmp_path: Path
) -> None:
    journal = dev_server.root / "var" / "messages.jsonl"
    done = subprocess.run(
        [str(environment / "python"), "-I", "-W", "error", "-c", BACK_END],
        input=json.dumps([dev_server.profile, str(journal), SERVER_ONLY, PHONE]),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert (seen["present"], seen["loaded"]) == ([], [])
    assert Path(seen["from"]).is_relative_to(environment.parent)


def test_the_command_line_says_which_extra_it_lacks(environment: Path, tmp_path: Path) -> None:
    for arguments in ([], ["serve", "--dev"], ["verify", "start", PHONE]):
        done = subprocess.run(
            [str(environment / "watchword"), *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        (line,) = done.stderr.splitlines()
        assert "pip install 'watchword[cli]'" in line
        assert (done.returncode, done.stdout) == (2, "")
    assert list(tmp_path.iterdir()) == []


def test_nothing_of_ours_stands_beside_the_two_packages(names: list[PurePosixPath]) -> None:
    tops = {name.parts[0] for name in names}
    (metadata,) = (top for top in tops if top.endswith(".dist-info"))
    assert tops == {"watchword", "watchword_adapters", metadata}
    assert not any("tests" in name.parts or "__pycache__" in name.parts for name in names)


def test_the_wheel_holds_stubs_types_and_migrations(names: list[PurePosixPath]) -> None:
    held = {str(name) for name in names}
    for proto in (ROOT / "protos").rglob("v1/*.proto"):
        package = proto.parent.relative_to(ROOT / "protos")
        for kind in ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi"):
            assert f"{package}/{proto.stem}{kind}" in held
        assert f"{package}/__init__.py" in held
    assert {"watchword/py.typed", "watchword_adapters/py.typed"} <= held
    adapters = ROOT / "adapters"
    migrations = {str(p.relative_to(adapters)) for p in adapters.rglob("migrations/*.sql")}
    assert {Path(name).parts[2] for name in migrations} == {"sqlite", "postgresql"}
    assert migrations <= held
    assert any(name.name == "LICENSE" for name in names)


def test_every_source_file_is_in_the_wheel(names: list[PurePosixPath]) -> None:
    held = {str(name) for name in names}
    for root in ("services", "adapters"):
        for path in (ROOT / root).rglob("*.py"):
            if "__pycache__" not in path.parts:
                assert str(path.relative_to(ROOT / root)) in held
