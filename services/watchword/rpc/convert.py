"""Between messages and plain values: every check that a servicer makes of a field's form.

All raise `InvalidArgument` with the field's path and never its value.
"""

import base64
import hmac
import re
from collections.abc import Mapping
from typing import TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from watchword.core.errors import InvalidArgument
from watchword.core.ports import SECOND, Millis
from watchword.tenancy.model import Caller

T = TypeVar("T")

MAX_REQUEST_ID = 64
MAX_PAGE_SIZE = 100
DEFAULT_PAGE_SIZE = 50
MAX_PAGE_TOKEN = 512

_REQUEST_ID = re.compile(r"[\x20-\x7e]{0,64}")
_NANOS = 1_000_000
_NANOS_PER_SECOND = 1_000_000_000
# The ranges that google/protobuf/timestamp.proto and duration.proto state.
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799
_LONGEST_SECONDS = 315_576_000_000
_TAG_BYTES = 16


def require(value: T, field: str) -> T:
    """Return `value`, which must be set: neither empty nor zero."""
    if not value:
        raise InvalidArgument("this field is required", field=field)
    return value


def check_request_id(text: str, field: str = "request_id") -> str:
    """Return the request id: "" or at most 64 printable ASCII characters."""
    if _REQUEST_ID.fullmatch(text) is None:
        raise InvalidArgument("at most 64 printable ASCII characters", field=field)
    return text


def enum_value(number: int, values: Mapping[int, T], field: str) -> T:
    """Return what an enum's number stands for; UNSPECIFIED and unknown numbers are refused."""
    found = values.get(number) if number else None
    if found is None:
        raise InvalidArgument("this value is not one of the enum's", field=field)
    return found


def page_size(
    value: int,
    field: str = "page_size",
    default: int = DEFAULT_PAGE_SIZE,
    maximum: int = MAX_PAGE_SIZE,
) -> int:
    """Return how many rows to return: `default` for 0, never more than `maximum` (AIP-158)."""
    if value < 0:
        raise InvalidArgument("page_size must not be negative", field=field)
    return min(value, maximum) or default


class PageTokens:
    """Seals where a list goes on; a token serves only who got it, for the same method.

    A token gives no right: rows are looked up for the caller whatever it says. The MAC
    keeps cursors from being made up, and one caller's from being tried by another.
    """

    def __init__(self, key: bytes) -> None:
        """MAC with `key`, which has no other use."""
        self._key = key

    def seal(self, caller: Caller, method: str, cursor: str, *filters: str) -> str:
        """Return an opaque token that goes on after `cursor` with the same filters."""
        return _encoded(self._tag(caller, method, cursor, *filters) + cursor.encode())

    def open(
        self, caller: Caller, method: str, token: str, *filters: str, field: str = "page_token"
    ) -> str:
        """Return the cursor of a token, "" where there is none."""
        if not token:
            return ""
        if len(token) > MAX_PAGE_TOKEN or not token.isascii():
            raise _bad_token(field)
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            cursor = raw[_TAG_BYTES:].decode("ascii")
        except ValueError as error:
            raise _bad_token(field) from error
        if _encoded(raw) != token:
            raise _bad_token(field)  # another spelling of the same bytes was not given out
        tag = self._tag(caller, method, cursor, *filters)
        if not hmac.compare_digest(raw[:_TAG_BYTES], tag):
            raise _bad_token(field)
        return cursor

    def _tag(self, caller: Caller, *parts: str) -> bytes:
        # Lengths stand before the parts, so that no two lists of parts read the same.
        bound = (caller.account_id, caller.application_id, *parts)
        text = "".join(f"{len(part)}:{part}" for part in bound)
        return hmac.digest(self._key, text.encode("utf-8", "replace"), "sha256")[:_TAG_BYTES]


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _bad_token(field: str) -> InvalidArgument:
    return InvalidArgument("not a page token of this method and these filters", field=field)


def to_timestamp(millis: Millis) -> Timestamp:
    """Return a point in time as a message."""
    return Timestamp(seconds=millis // SECOND, nanos=millis % SECOND * _NANOS)


def to_duration(millis: Millis) -> Duration:
    """Return a length of time, not negative, as a message."""
    return Duration(seconds=millis // SECOND, nanos=millis % SECOND * _NANOS)


def from_timestamp(value: Timestamp, field: str) -> Millis:
    """Return a point in time; refuses what lies outside the years 1 to 9999."""
    if not _FIRST_SECOND <= value.seconds <= _LAST_SECOND:
        raise InvalidArgument("not a valid timestamp", field=field)
    if not 0 <= value.nanos < _NANOS_PER_SECOND:
        raise InvalidArgument("not a valid timestamp", field=field)
    return value.seconds * SECOND + value.nanos // _NANOS


def from_duration(value: Duration, field: str) -> Millis:
    """Return a length of time; refuses negative ones and those over 10,000 years."""
    if not 0 <= value.seconds <= _LONGEST_SECONDS or not 0 <= value.nanos < _NANOS_PER_SECOND:
        raise InvalidArgument("not a valid duration, or a negative one", field=field)
    return value.seconds * SECOND + value.nanos // _NANOS
