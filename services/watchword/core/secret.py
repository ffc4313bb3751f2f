"""A wrapper that keeps secrets out of logs, errors, reprs and pickles."""

import hmac
from typing import Generic, NoReturn, TypeVar

T = TypeVar("T", str, bytes)


class Secret(Generic[T]):
    """Holds a secret `str` or `bytes`; only `reveal()` gives it back."""

    __slots__ = ("_value",)

    def __init__(self, value: T) -> None:
        """Wrap `value`."""
        self._value: T = value

    def reveal(self) -> T:
        """Return the secret; call it only where the secret is used."""
        return self._value

    def __repr__(self) -> str:
        """Return a fixed mask."""
        return "Secret(***)"

    __str__ = __repr__

    def __format__(self, format_spec: str) -> str:
        """Return the mask whatever the format."""
        return repr(self)

    def __eq__(self, other: object) -> bool:
        """Compare in time independent of the content."""
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(_as_bytes(self._value), _as_bytes(other._value))

    def __hash__(self) -> NoReturn:
        """Refuse: a hash table would compare and keep the secret."""
        raise TypeError("a Secret is not hashable")

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled."""
        raise TypeError("a Secret cannot be pickled")


def _as_bytes(value: str | bytes) -> bytes:
    # hmac.compare_digest refuses non-ASCII str.
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
