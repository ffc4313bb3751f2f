"""What an account's fields may hold: form only, whatever the state.

Every function returns the checked value or raises `InvalidArgument` with the field's
path and never its value.
"""

import re
from collections.abc import Iterable

from watchword.core.errors import InvalidArgument, PermissionDenied
from watchword.core.phone import KNOWN_REGIONS
from watchword.core.text import check_text
from watchword.delivery.carrier import Channel
from watchword.fraud.budget import AccountCaps
from watchword.tenancy.model import ALL_REGIONS, GRANTABLE, Caller, Scope

MAX_NAME = 128
MAX_BRAND = 32
MAX_REASON = 256
MAX_PURPOSES = 100
MAX_SPIFFE_IDS = 10
MAX_SPIFFE_BYTES = 2_048

_BYTES_A_POINT = 4
_MAX_EMAIL = 254
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s.]+(\.[^@\s.]+)+")
# SPIFFE-ID standard, 2.1 and 2.2: a trust domain, then non-empty segments.
_SPIFFE = re.compile(r"spiffe://[a-z0-9._-]{1,255}(/[A-Za-z0-9._-]+)+")
# The form that a Start asks for.
_PURPOSE = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_CODE = re.compile(r"[0-9]{6,8}")
_ENABLED = frozenset({Channel.SMS, Channel.VOICE, Channel.EMAIL})


def name(field: str, text: str, most: int = MAX_NAME) -> str:
    """Return a required text for people of at most `most` characters."""
    if not text:
        raise InvalidArgument("the field is required", field=field)
    return optional(field, text, most)


def optional(field: str, text: str, most: int = MAX_NAME) -> str:
    """Return a text for people of at most `most` characters, or ""."""
    return check_text(field, text, most, most * _BYTES_A_POINT)


def brand(field: str, text: str) -> str:
    """Return the name in messages, at most 32 characters, or ""."""
    return optional(field, text, MAX_BRAND)


def email(field: str, text: str) -> str:
    """Return an e-mail address (RFC 5321: at most 254 octets) or ""."""
    address = check_text(field, text, _MAX_EMAIL, _MAX_EMAIL)
    if address and _EMAIL.fullmatch(address) is None:
        raise InvalidArgument("not an e-mail address", field=field)
    return address


def regions(field: str, codes: Iterable[str]) -> tuple[str, ...]:
    """Return ISO 3166-1 alpha-2 codes, sorted, each once; `*` stands for all of them."""
    wanted = sorted(set(codes))
    if not wanted:
        raise InvalidArgument("at least one region is required", field=field)
    if not KNOWN_REGIONS.issuperset(set(wanted) - {ALL_REGIONS}):
        raise InvalidArgument("not a region of ISO 3166-1, nor * for all", field=field)
    return (ALL_REGIONS,) if ALL_REGIONS in wanted else tuple(wanted)


def channels(field: str, wanted: Iterable[Channel]) -> frozenset[str]:
    """Return the channels to enable; none means SMS alone, AUTO is no channel of its own."""
    chosen = frozenset(wanted) or frozenset({Channel.SMS})
    if not chosen <= _ENABLED:
        raise InvalidArgument("channels are SMS, VOICE and EMAIL", field=field)
    return frozenset(str(channel) for channel in chosen)


def purposes(field: str, wanted: Iterable[str]) -> frozenset[str]:
    """Return the purposes that a verification may be for; none means any."""
    chosen = frozenset(wanted)
    if len(chosen) > MAX_PURPOSES:
        raise InvalidArgument("there may be 100 purposes at most", field=field)
    if any(_PURPOSE.fullmatch(purpose) is None for purpose in chosen):
        raise InvalidArgument("a purpose is 1 to 64 of a-z, 0-9, '_', '.', '-'", field=field)
    return chosen


def spiffe_ids(field: str, wanted: Iterable[str]) -> tuple[str, ...]:
    """Return SPIFFE ids of workloads, sorted, each once (SPIFFE-ID standard, 2)."""
    chosen = sorted(set(wanted))
    if len(chosen) > MAX_SPIFFE_IDS:
        raise InvalidArgument("there may be 10 SPIFFE ids at most", field=field)
    for text in chosen:
        segments = text.split("/")[3:]
        if len(text) > MAX_SPIFFE_BYTES or _SPIFFE.fullmatch(text) is None:
            raise InvalidArgument("not the SPIFFE id of a workload", field=field)
        if "." in segments or ".." in segments:
            raise InvalidArgument("not the SPIFFE id of a workload", field=field)
    return tuple(chosen)


def scopes(field: str, wanted: Iterable[str], caller: Caller) -> frozenset[Scope]:
    """Return scopes that the caller may hand out.

    Raises `PermissionDenied` where the caller lacks one, or asks for `operator`.
    """
    try:
        chosen = frozenset(Scope(text) for text in wanted)
    except ValueError:
        raise InvalidArgument("there is no such scope", field=field) from None
    if not chosen <= caller.scopes & GRANTABLE:
        raise PermissionDenied("nobody grants a scope that they lack")
    return chosen


def caps(field: str, hour: int, day: int, default: AccountCaps, most: AccountCaps) -> AccountCaps:
    """Return an account's caps: 0 takes the default, `most` is the hard bound."""
    if not 0 <= hour <= most.sends_per_hour:
        raise InvalidArgument("outside the hard bounds", field=f"{field}.sends_per_hour")
    if not 0 <= day <= most.sends_per_day:
        raise InvalidArgument("outside the hard bounds", field=f"{field}.sends_per_day")
    return AccountCaps(hour or default.sends_per_hour, day or default.sends_per_day)


def test_code(field: str, text: str) -> str:
    """Return a test number's fixed code: 6 to 8 ASCII digits."""
    if _CODE.fullmatch(text) is None:
        raise InvalidArgument("a code is 6 to 8 digits", field=field)
    return text
