"""Sources of bytes for tests: repeatable, broken, or stuck."""

import hashlib

from watchword.core.errors import Unavailable


class SeededEntropy:
    """An `Entropy` whose bytes follow from its seed; two draws are never equal by rights."""

    def __init__(self, seed: int = 0) -> None:
        """Begin the stream that belongs to `seed`."""
        self._stream = f"watchword test entropy {seed}/".encode()
        self._draws = 0

    def token(self, size: int) -> bytes:
        """Return the next `size` bytes of the stream."""
        self._draws += 1
        return hashlib.shake_256(self._stream + str(self._draws).encode()).digest(size)


class FailingEntropy:
    """An `Entropy` whose source is gone."""

    def token(self, size: int) -> bytes:  # noqa: ARG002 - the port's name
        """Raise `Unavailable`, always."""
        raise Unavailable("the random source is unavailable")


class ConstantEntropy:
    """A source that is stuck: it gives one byte over and over."""

    def __init__(self, byte: int = 0) -> None:
        """Repeat `byte`."""
        self._byte = bytes([byte])

    def token(self, size: int) -> bytes:
        """Return `size` times the same byte."""
        return self._byte * size
