"""The demo: a real server, a real client, nothing left behind."""

import json
import sys
import tempfile
from pathlib import Path

import pytest
from tests.cli.conftest import Run


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the demo's server keeps its state."""
    directory = tmp_path / "tmp"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    return directory


def test_the_demo_tells_the_main_job(run: Run, temporary: Path, tmp_path: Path) -> None:
    ended = run("demo")
    assert (ended.status, ended.err) == (0, "")
    steps = [line for line in ended.out.splitlines() if line[:1].isdigit()]
    assert [line.partition(". ")[2] for line in steps] == [
        "A server starts",
        "The back end looks the number up",
        "It starts a verification",
        "The phone shows a message",
        "The person mistypes the code",
        "The person enters the right code",
        "The shop verifies the receipt offline, with the published keys",
        "The metrics moved",
        "Done; the server is stopped and its files are gone",
    ]
    assert "WRONG_CODE" in ended.out
    assert "4 checks" in ended.out
    assert "\x1b" not in ended.out
    assert list(temporary.iterdir()) == []
    assert list(tmp_path.iterdir()) == [temporary]


def test_the_demo_s_json_is_a_document_a_step(run: Run, temporary: Path) -> None:
    ended = run("demo", "--json")
    steps = [json.loads(line) for line in ended.out.splitlines()]
    assert [step["step"] for step in steps] == list(range(1, 10))
    facts = {step["title"]: step["facts"] for step in steps}
    assert facts["The person mistypes the code"]["rejected"] == "WRONG_CODE"
    assert facts["The person enters the right code"]["state"] == "APPROVED"
    moved = facts["The metrics moved"]
    assert any(name.startswith("watchword_starts_total") for name in moved)


def test_a_server_that_does_not_start_is_shown(
    run: Run, temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho the disk is full\nexit 3\n")
    broken.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(broken))
    ended = run("demo")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.splitlines() == [
        "watchword: the demo failed: the server stopped at once, with 3",
        "the end of the server's log:",
        "the disk is full",
    ]
    assert list(temporary.iterdir()) == []
