"""Logs: JSON lines of allowed fields, from us and from libraries."""

import logging
import os

import orjson
import pytest

from watchword.telemetry.logs import (
    DEBUG,
    WARNING,
    LibraryLogs,
    LineWriter,
    Log,
)
from watchword.testing.clock import FakeClock


@pytest.fixture
def lines() -> list[bytes]:
    return []


@pytest.fixture
def log(lines: list[bytes], clock: FakeClock) -> Log:
    return Log(lines.append, clock)


def test_a_line_is_one_json_object(log: Log, lines: list[bytes]) -> None:
    log.info("started", endpoint="127.0.0.1:1", reason="", count=0)
    assert lines[0].endswith(b"\n")
    assert orjson.loads(lines[0]) == {
        "time": "2027-01-15T08:00:00Z",
        "level": "info",
        "event": "started",
        "endpoint": "127.0.0.1:1",
        "count": 0,
    }


@pytest.mark.parametrize("name", ["code", "phone_number", "to", "secret", "message", "body"])
def test_fields_that_are_not_allowed_are_refused(log: Log, name: str) -> None:
    with pytest.raises(ValueError, match="allowed list"):
        log.info("x", **{name: "y"})


def test_what_is_below_the_level_is_not_written(log: Log, lines: list[bytes]) -> None:
    log.debug("quiet")
    log.level = WARNING
    log.info("quiet")
    assert lines == []
    log.level = DEBUG
    log.debug("loud")
    assert len(lines) == 1


def test_the_line_of_a_call(log: Log, lines: list[bytes]) -> None:
    log.call(
        method="/a.B/C",
        code="OK",
        seconds=0.0123456,
        account_id="AC1",
        application_id="",
        reason="",
        correlation_id="",
    )
    line = orjson.loads(lines[0])
    assert line.pop("time")
    assert line == {
        "level": "info",
        "event": "call",
        "grpc_method": "/a.B/C",
        "grpc_code": "OK",
        "duration_ms": 12.346,
        "account_id": "AC1",
    }


def record(name: str, text: str, *args: object, **extra: object) -> logging.LogRecord:
    logger = logging.getLogger(name)
    made = logger.makeRecord(name, logging.WARNING, "f", 1, text, args, None, extra=extra)
    made.exc_info = (KeyError, KeyError("+14155550123"), None)
    return made


def test_libraries_say_only_who_they_are(log: Log, lines: list[bytes]) -> None:
    LibraryLogs(log).emit(record("aiohttp.client", "sent to %s", "+14155550123"))
    LibraryLogs(log).emit(record("asyncio", "failed with +14155550123"))
    assert b"4155550123" not in b"".join(lines)
    line = orjson.loads(lines[0])
    assert (line["event"], line["logger"], line["error"]) == (
        "library message",
        "aiohttp.client",
        "KeyError",
    )


def test_our_own_modules_say_fixed_texts_and_allowed_fields(log: Log, lines: list[bytes]) -> None:
    ours = record("watchword.account.usage", "usage not written", reason="OVERLOADED", phone="+1")
    LibraryLogs(log).emit(ours)
    line = orjson.loads(lines[0])
    assert (line["event"], line["reason"]) == ("usage not written", "OVERLOADED")
    assert "+1" not in lines[0].decode()
    LibraryLogs(log).emit(record("watchword.x", "to %s", "+14155550123"))
    assert orjson.loads(lines[1])["event"] == "to %s"
    assert b"4155550123" not in lines[1]


def test_the_writer_writes_all_of_it_when_it_closes() -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as file:
        lines = LineWriter(writer)
        for number in range(100):
            lines.write(b"%d\n" % number)
        lines.close()
        lines.close()
        os.close(writer)
        assert file.read().split() == [b"%d" % number for number in range(100)]


def test_a_reader_that_is_gone_stops_nobody() -> None:
    reader, writer = os.pipe()
    lines = LineWriter(writer)
    os.close(reader)
    lines.write(b"x\n")
    lines.close()
    os.close(writer)
