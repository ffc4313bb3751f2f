"""The machine's clock and random source, and how a broken source is noticed."""

import os
from pathlib import Path

import pytest

from watchword.core.errors import Unavailable
from watchword.core.ports import HOUR
from watchword.core.system import SystemClock, SystemEntropy
from watchword.testing.entropy import ConstantEntropy, FailingEntropy, SeededEntropy


def test_the_clock_tells_unix_milliseconds(tmp_path: Path) -> None:
    written = tmp_path.stat().st_mtime_ns // 1_000_000
    assert 0 <= SystemClock().now() - written < HOUR


@pytest.mark.parametrize("size", [1, 10, 16, 32, 1_000])
def test_entropy_gives_as_much_as_asked(size: int) -> None:
    assert len(SystemEntropy().token(size)) == size


def test_c142_a_stuck_source_refuses_at_start_up() -> None:
    for byte in (0, 255):
        with pytest.raises(Unavailable):
            SystemEntropy(ConstantEntropy(byte).token)


def test_c142_a_failing_source_refuses_at_start_up() -> None:
    def fails(_: int) -> bytes:
        raise OSError(5, "no entropy")

    for source in (fails, FailingEntropy().token, lambda size: os.urandom(size - 1)):
        with pytest.raises(Unavailable):
            SystemEntropy(source)


@pytest.mark.parametrize("size", [1, 12, 32])
def test_c142_a_source_that_gets_stuck_is_refused_from_its_first_repeat(size: int) -> None:
    good, stuck = SeededEntropy(), os.urandom(64)
    broken: list[bool] = []
    entropy = SystemEntropy(lambda wanted: stuck[:wanted] if broken else good.token(wanted))
    for _ in range(10):
        entropy.token(size)
    broken.append(True)
    entropy.token(size)
    for _ in range(3):
        with pytest.raises(Unavailable):
            entropy.token(size)


def test_c142_a_source_that_fails_later_is_unavailable() -> None:
    working = [True]

    def source(wanted: int) -> bytes:
        if not working[0]:
            raise OSError(5, "gone")
        return os.urandom(wanted)

    entropy = SystemEntropy(source)
    working[0] = False
    with pytest.raises(Unavailable):
        entropy.token(16)


def test_c140_a_forked_process_draws_other_bytes() -> None:
    entropy = SystemEntropy()
    entropy.token(16)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, entropy.token(32))
        os._exit(0)
    os.waitpid(child, 0)
    drawn = os.read(reader, 32)
    os.close(reader)
    os.close(writer)
    assert len(drawn) == 32
    assert drawn != entropy.token(32)
