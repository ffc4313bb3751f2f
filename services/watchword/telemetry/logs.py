"""Structured logs: one JSON object a line, of fields that are allowed by name.

A field that is not in `FIELDS` is refused where it is logged, and no value is ever
formatted into a text, so that no code, key or number can reach a log by accident. What
libraries log through `logging` is reduced to who said it and how grave it is: their
messages quote what they were given.
"""

import atexit
import logging
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import orjson

from watchword.core.ports import Clock

Value = str | int | float | bool | None

FIELDS: Final = frozenset(
    {
        "account_id",
        "application_id",
        "attempt",
        "carrier",
        "cause",
        "channel",
        "correlation_id",
        "count",
        "credential_id",
        "dropped",
        "duration_ms",
        "endpoint",
        "error",
        "grpc_code",
        "grpc_method",
        "kind",
        "logger",
        "reason",
        "send_id",
        "state",
        "stage",
        "verification_id",
        "version",
        "where",
        "world",
    }
)
"""What a line may carry beside time, level and event. None of them names a person."""

DEBUG, INFO, WARNING, ERROR = 10, 20, 30, 40
_LEVELS: Final = {DEBUG: "debug", INFO: "info", WARNING: "warning", ERROR: "error"}
_FLUSH_SECONDS = 0.2
_BUFFER_LINES = 100_000


class LineWriter:
    """Collects lines and writes them from a thread, so that a slow reader stops no call.

    Lines beyond the buffer are dropped and counted: a log must never hold a call up.
    """

    def __init__(self, fd: int = 2) -> None:
        """Write to the file descriptor `fd`."""
        self._fd = fd
        self._lines: list[bytes] = []
        self._dropped = 0
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="logs", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def write(self, line: bytes) -> None:
        """Take one line, newline included."""
        if len(self._lines) < _BUFFER_LINES:
            self._lines.append(line)
        else:
            self._dropped += 1

    def flush(self) -> None:
        """Write what was taken so far."""
        with self._lock:
            lines, self._lines = self._lines, []
            dropped, self._dropped = self._dropped, 0
            if dropped:
                lines.append(orjson.dumps({"event": "lines dropped", "dropped": dropped}) + b"\n")
            if lines:
                self._put(b"".join(lines))

    def close(self) -> None:
        """Write the rest and end the thread; closing twice does nothing."""
        if self._closed:
            return
        self._closed = True
        self._wake.set()
        self._thread.join(timeout=1)
        self.flush()
        atexit.unregister(self.close)

    def _put(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:
            # Nobody reads any more; there is no one left to tell.
            return

    def _run(self) -> None:
        while not self._wake.wait(_FLUSH_SECONDS):
            self.flush()


class Log:
    """Writes events; `info("started", endpoint=…)`. Raises `ValueError` on unknown fields."""

    def __init__(self, write: Callable[[bytes], None], clock: Clock, level: int = INFO) -> None:
        """Hand finished lines to `write`; events below `level` cost nothing but the call."""
        self._write = write
        self._clock = clock
        self.level = level

    def debug(self, event: str, **fields: Value) -> None:
        """Say what only a developer wants to know."""
        if self.level <= DEBUG:
            self.log(DEBUG, event, fields)

    def info(self, event: str, **fields: Value) -> None:
        """Say what happened as it should."""
        if self.level <= INFO:
            self.log(INFO, event, fields)

    def warning(self, event: str, **fields: Value) -> None:
        """Say what an operator should look at."""
        if self.level <= WARNING:
            self.log(WARNING, event, fields)

    def error(self, event: str, **fields: Value) -> None:
        """Say what is broken."""
        self.log(ERROR, event, fields)

    def call(
        self,
        *,
        method: str,
        code: str,
        seconds: float,
        account_id: str,
        application_id: str,
        reason: str,
        correlation_id: str,
    ) -> None:
        """Write the one line of a finished call; its fields are fixed, so none is checked."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(self._clock.now() / 1000, UTC),
            "level": "error" if code == "INTERNAL" else "info",
            "event": "call",
            "grpc_method": method,
            "grpc_code": code,
            "duration_ms": round(seconds * 1000, 3),
        }
        if account_id:
            line["account_id"] = account_id
        if application_id:
            line["application_id"] = application_id
        if reason:
            line["reason"] = reason
        if correlation_id:
            line["correlation_id"] = correlation_id
        self._write(orjson.dumps(line, option=_OPTIONS))

    def log(self, level: int, event: str, fields: dict[str, Value]) -> None:
        """Write one line. `event` is a fixed text; empty fields are left out."""
        if not fields.keys() <= FIELDS:
            raise ValueError("a log field is not on the allowed list")
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(self._clock.now() / 1000, UTC),
            "level": _LEVELS[level],
            "event": event,
        }
        line |= {name: value for name, value in fields.items() if value not in (None, "")}
        self._write(orjson.dumps(line, option=_OPTIONS))


_OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z


class LibraryLogs(logging.Handler):
    """Reduces the records of `logging` to logger, level and exception type.

    Of our own modules the text is kept as it stands in the source, its arguments left out,
    and with it the `extra` fields that are on the allowed list.
    """

    def __init__(self, log: Log) -> None:
        """Write to `log`."""
        super().__init__(level=logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line without the record's message and arguments."""
        ours = record.name.startswith("watchword")
        event = record.msg if ours and isinstance(record.msg, str) else "library message"
        fields: dict[str, Value] = {"logger": record.name}
        if record.exc_info and record.exc_info[0]:
            fields["error"] = record.exc_info[0].__name__
        if ours:
            # What `extra=` brought, where it is on the allowed list.
            extra = record.__dict__
            fields |= {name: _plain(extra[name]) for name in FIELDS & extra.keys()}
        level = ERROR if record.levelno >= logging.ERROR else WARNING
        if self._log.level <= level:
            self._log.log(level, event, fields)


def _plain(value: object) -> Value:
    return value if isinstance(value, (int, float)) else str(value)


def capture_libraries(log: Log) -> None:
    """Send all of `logging` through `LibraryLogs`, and nowhere else."""
    root = logging.getLogger()
    for handler in root.handlers[:]:
        root.removeHandler(handler)
    root.addHandler(LibraryLogs(log))
    root.setLevel(logging.WARNING)
