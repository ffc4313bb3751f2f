"""The README's client is run as it stands, its configuration is loaded, its commands exist."""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.live import Live

from watchword.client import Client, Receipt, verification_pb2
from watchword.config import load

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
PHONE = "+14155550123"


def block(language: str) -> str:
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert len(found) == 1
    return found[0]


async def sign_in(
    live: Live, ask: Callable[[verification_pb2.Verification], Awaitable[str]]
) -> object:
    """Run the README's function, with `ask` in the person's place."""
    names: dict[str, Any] = {}
    exec(compile(block("python"), "README.md", "exec"), names)  # the page is the code under test
    async with Client(
        live.endpoint, live.credentials["credential_id"], live.credentials["credential_secret"]
    ) as client:
        application_id = live.credentials["application_id"]
        return await names["sign_in"](
            client, PHONE, b"session", ask, audience=application_id, allow_test=True
        )


async def test_the_client_signs_a_person_in(live: Live) -> None:
    async def ask(started: verification_pb2.Verification) -> str:
        return await live.code(started.verification_id)

    receipt = await sign_in(live, ask)
    assert isinstance(receipt, Receipt)
    assert receipt.purpose == "login"


async def test_the_client_returns_why_a_wrong_code_was_rejected(live: Live) -> None:
    async def ask(started: verification_pb2.Verification) -> str:
        right = await live.code(started.verification_id)
        return right[:-1] + str((int(right[-1]) + 1) % 10)

    assert await sign_in(live, ask) == "WRONG_CODE"


def test_the_configuration_loads(tmp_path: Path) -> None:
    path = tmp_path / "watchword.toml"
    path.write_text(block("toml"))
    config = load(path, environ={})
    assert config.world == "production"
    assert config.carriers.order == {"SMS": ("twilio",)}


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_every_make_target_exists(page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^ {4}|`)make ([a-z-]+)", (ROOT / page).read_text(), re.MULTILINE))
    assert named
    assert named <= targets
