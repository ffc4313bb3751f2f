"""The machine's clock and random source: the one place that reads either."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from watchword.core.errors import Unavailable
from watchword.core.ports import Millis

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_BLOCK = 16


class SystemClock:
    """The wall clock of the machine, UTC."""

    def now(self) -> Millis:
        """Return the time since the Unix epoch in milliseconds."""
        return (datetime.now(UTC) - _EPOCH) // _MILLISECOND


class SystemEntropy:
    """The operating system's random source, watched for failure.

    Every draw holds at least one block of 16 bytes, and no two draws in a row may begin
    with the same block (the continuous test of FIPS 140-2 §4.9.2). The kernel reseeds
    after a fork or a cloned machine; nothing is buffered here.
    """

    def __init__(self, source: Callable[[int], bytes] = os.urandom) -> None:
        """Test the source once; raises `Unavailable` where it is broken."""
        self._source = source
        self._last = b""
        if len(set(self.token(64))) == 1 or self.token(64) == self.token(64):
            raise _broken()

    def token(self, size: int) -> bytes:
        """Return `size` fresh bytes; raises `Unavailable` where the source is broken."""
        wanted = max(size, _BLOCK)
        try:
            drawn = self._source(wanted)
        except (OSError, NotImplementedError):
            raise _broken() from None
        block = drawn[:_BLOCK]
        if len(drawn) != wanted or block == self._last:
            raise _broken()
        self._last = block
        return drawn[:size]


def _broken() -> Unavailable:
    return Unavailable("the random source is unavailable")
