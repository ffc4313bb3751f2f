"""The other processes of a run, what they cost, and lines of JSON to and from them."""

import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

START_WITHIN = 30.0
"""Seconds that a process may take until its first line."""

_STOP_WITHIN = 20.0
_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
# Fields of proc_pid_stat(5), counted from the state on: the parent, its own user and system
# time, and that of its children that have ended.
_PARENT = 1
_OWN = slice(11, 13)
_WITH_ENDED_CHILDREN = slice(11, 15)


def family_cpu(pid: int) -> float:
    """Return the seconds of CPU that a process and its children have used, ended ones too."""
    ticks = _ticks(_stat(pid), _WITH_ENDED_CHILDREN)
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(FileNotFoundError, ProcessLookupError):
                fields = _stat(int(entry.name))
                ticks += _ticks(fields, _OWN) if int(fields[_PARENT]) == pid else 0
    return ticks / _TICK


def _stat(pid: int) -> list[str]:
    # The name before the last parenthesis may hold anything.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _ticks(fields: list[str], which: slice) -> int:
    return sum(map(int, fields[which]))


class BenchError(Exception):
    """The measurement cannot go on; the message is one line."""


class Process:
    """A Python process that answers in lines of JSON; a context manager that stops it."""

    def __init__(self, arguments: Sequence[str], errors: Path) -> None:
        """Run `python -m` with `arguments`; its stderr is appended to the file `errors`."""
        self._errors = errors
        self._file: IO[bytes] = errors.open("ab")
        self._process = subprocess.Popen(  # noqa: S603 - this very program
            [sys.executable, "-m", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._file,
            env={k: v for k, v in os.environ.items() if not k.startswith("WATCHWORD_")},
        )

    def __enter__(self) -> Self:
        """Return itself: it runs already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it, by force where it does not stop by itself."""
        process = self._process
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._file.close()

    @property
    def pid(self) -> int:
        """Return the process's number."""
        return self._process.pid

    def tell(self, order: object) -> None:
        """Write one line. Raises `BenchError` where nobody reads."""
        assert self._process.stdin is not None  # noqa: S101 - it was asked for
        try:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise self._ended() from None

    def hear(self, within: float = START_WITHIN) -> dict[str, Any]:
        """Return the next line. Raises `BenchError` where none comes, or one that complains."""
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        with selectors.DefaultSelector() as ready:
            ready.register(self._process.stdout, selectors.EVENT_READ)
            if not ready.select(within):
                raise BenchError("a process does not answer")
        line = self._process.stdout.readline()
        if not line:
            raise self._ended()
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise BenchError(answer["error"])
        return answer

    def cpu(self) -> float:
        """Return the seconds of CPU, user and system, that its threads have used so far."""
        return _ticks(_stat(self.pid), _OWN) / _TICK

    def memory(self) -> int:
        """Return its resident memory in bytes."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * _PAGE

    def _ended(self) -> BenchError:
        status = self._process.poll()
        last = self._errors.read_text(errors="replace").strip().rpartition("\n")[2]
        return BenchError(f"a process ended (status {status}): {last}")
