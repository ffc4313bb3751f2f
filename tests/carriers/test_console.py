"""The console carrier: the file that harnesses read, and the screen that people see."""

import io
import json
import os
import stat
from pathlib import Path

import pytest

from watchword.core.secret import Secret
from watchword.delivery.carrier import Receipt, Unreachable
from watchword.testing.carriers import a_message
from watchword_adapters.carriers.console import ConsoleCarrier, phone_screen


async def no_receipts(receipt: Receipt) -> None:
    raise AssertionError(receipt.state)


async def test_a_line_has_what_a_harness_needs(tmp_path: Path) -> None:
    path = tmp_path / "var" / "messages.jsonl"
    carrier = ConsoleCarrier(path, stdout=False)
    await carrier.open(no_receipts)
    message = a_message(7)
    await carrier.send(message)
    await carrier.close()
    assert json.loads(path.read_text()) == {
        "send_id": message.send_id,
        "verification_id": message.verification_id,
        "channel": "SMS",
        "to": "+12025550100",
        "body": "Your code is 493817.",
        "code": "493817",
        "time": "2027-01-15T08:00:00.000Z",
    }


async def test_the_file_is_its_owners_alone_and_grows(tmp_path: Path) -> None:
    path = tmp_path / "messages.jsonl"
    path.write_text("{}\n")
    path.chmod(0o644)
    for n in range(2):
        carrier = ConsoleCarrier(path, stdout=False)
        await carrier.open(no_receipts)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        await carrier.send(a_message(n))
        await carrier.close()
    assert len(path.read_text().splitlines()) == 3


async def test_a_link_in_the_files_place_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("")
    path = tmp_path / "messages.jsonl"
    path.symlink_to(other)
    with pytest.raises(OSError, match="symbolic"):
        await ConsoleCarrier(path, stdout=False).open(no_receipts)


async def test_a_full_disk_is_unreachable_and_tells_nothing() -> None:
    carrier = ConsoleCarrier(Path("/dev/null"), stdout=False)
    carrier._journal._fd = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(Unreachable) as caught:
        await carrier.send(a_message())
    assert "493817" not in repr(caught.value)
    await carrier.close()


async def test_the_message_is_shown_as_on_a_phone(tmp_path: Path) -> None:
    screen = io.StringIO()
    carrier = ConsoleCarrier(tmp_path / "m", screen=screen)
    await carrier.open(no_receipts)
    await carrier.send(a_message())
    await carrier.close()
    assert "SMS to +12025550100" in screen.getvalue()
    assert "Your code is 493817." in screen.getvalue()
    assert len({len(line) for line in screen.getvalue().splitlines()}) == 1


def test_a_terminal_gets_nothing_to_obey() -> None:
    shown = phone_screen(a_message(body="\x1b[2Jgone\r\x07 \u202eback")._replace(to=Secret("\x1b")))
    assert all(character.isprintable() or character == "\n" for character in shown)


async def test_a_screen_that_goes_away_loses_no_message(tmp_path: Path) -> None:
    screen = io.StringIO()
    carrier = ConsoleCarrier(tmp_path / "m", screen=screen)
    await carrier.open(no_receipts)
    screen.close()
    await carrier.send(a_message(1))
    await carrier.send(a_message(2))
    await carrier.close()
    assert len((tmp_path / "m").read_text().splitlines()) == 2


def test_it_serves_the_dev_world_alone() -> None:
    assert ConsoleCarrier.capabilities.worlds == {"dev"}


def test_its_defaults_and_complaints() -> None:
    assert ConsoleCarrier.create({})._journal._path == Path("var/messages.jsonl")
    with pytest.raises(ValueError, match=r"^carriers\.console\.path must be a string$"):
        ConsoleCarrier.create({"path": 1})
