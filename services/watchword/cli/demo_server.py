"""A dev server of the demo's own: another process, a temporary directory, free ports."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

READY_WITHIN = 20.0
"""Seconds that a server may take to become ready."""

STOP_WITHIN = 10.0
"""Seconds that it may take to stop before it is killed."""

_PAUSE = 0.02
_TAIL = 15


class DemoError(Exception):
    """The demo cannot go on; the message is one line."""


class DemoServer:
    """Runs `watchword serve --dev`; use it as a context manager.

    Raises `DemoError` from `__enter__` when the server does not become ready.
    """

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="watchword-demo-")
        self.root = Path(self._directory.name)
        self.endpoint, self.http, self._callback = _free_addresses(3)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start the server and wait until it is ready."""
        try:
            with (self.root / "server.log").open("wb") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "watchword.cli", "serve", "--dev"],
                    cwd=self.root,
                    env=self._environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            self._wait_until_ready(self._process)
        except BaseException as error:
            tail = self.log_tail()
            self._stop()
            if isinstance(error, DemoError):
                error.add_note(tail)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the server and remove its directory; a failure gets the log's end as a note."""
        if error is not None:
            error.add_note(self.log_tail())
        self._stop()

    @property
    def profile(self) -> dict[str, str]:
        """What the server wrote for its callers."""
        path = self.root / "var" / "dev-credentials.json"
        return dict(json.loads(path.read_text(encoding="utf-8")))

    def message_for(self, verification_id: str, *, within: float = 5.0) -> dict[str, Any]:
        """Return the message that the console carrier wrote for a verification."""
        path = self.root / "var" / "messages.jsonl"
        end = time.monotonic() + within
        while time.monotonic() < end:
            for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
                message: dict[str, Any] = json.loads(line)
                if message["verification_id"] == verification_id:
                    return message
            time.sleep(_PAUSE)
        raise DemoError("no message came")

    def fetch(self, path: str) -> str:
        """Return what the HTTP port answers."""
        try:
            with urllib.request.urlopen(f"http://{self.http}{path}", timeout=5) as reply:
                return str(reply.read().decode())
        except (OSError, urllib.error.URLError):
            raise DemoError(f"the server does not answer at {path}") from None

    def log_tail(self) -> str:
        """Return the end of the server's log."""
        try:
            lines = (self.root / "server.log").read_text(errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(lines[-_TAIL:])

    def _environment(self) -> dict[str, str]:
        others = {k: v for k, v in os.environ.items() if not k.startswith("WATCHWORD_")}
        return others | {
            "WATCHWORD_LISTEN": self.endpoint,
            "WATCHWORD_HTTP_LISTEN": self.http,
            "WATCHWORD_CALLBACK_LISTEN": self._callback,
        }

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + READY_WITHIN
        while time.monotonic() < end:
            if process.poll() is not None:
                raise DemoError(f"the server stopped at once, with {process.returncode}")
            if self._is_ready():
                return
            time.sleep(_PAUSE)
        raise DemoError(f"the server was not ready within {READY_WITHIN:.0f} s")

    def _is_ready(self) -> bool:
        # The credentials are written last, once calls are served.
        try:
            return bool(self.profile) and bool(self.fetch("/readyz"))
        except (DemoError, OSError):
            return False

    def _stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_WITHIN)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._directory.cleanup()


def _free_addresses(count: int) -> list[str]:
    # All are held open at once, so that they differ.
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    finally:
        for each in sockets:
            each.close()
