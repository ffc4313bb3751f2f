"""The command line in this very process, and a server that answers as it is told."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.client.scripted import ScriptedServer

from watchword.cli.main import main


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ended]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run the command line in an empty directory, with no settings of the machine's."""
    for name in ("ENDPOINT", "CREDENTIAL_ID", "CREDENTIAL_SECRET", "CONFIG"):
        monkeypatch.delenv(f"WATCHWORD_{name}", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)

    def run_it(*args: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["watchword", *args])
        with pytest.raises(SystemExit) as left:
            main()
        shown = capsys.readouterr()
        code = left.value.code
        return Ended(code if isinstance(code, int) else int(code is not None), shown.out, shown.err)

    return run_it


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as started:
        yield started


@pytest.fixture
def call(run: Run, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command line against the scripted server, found by the environment."""

    def call_it(*args: str) -> Ended:
        monkeypatch.setenv("WATCHWORD_ENDPOINT", server.endpoint)
        monkeypatch.setenv("WATCHWORD_CREDENTIAL_ID", "CR1")
        monkeypatch.setenv("WATCHWORD_CREDENTIAL_SECRET", "s3cret")
        return run(*args)

    return call_it
