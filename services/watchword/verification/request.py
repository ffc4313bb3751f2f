"""What callers ask for, as plain values, and the checks that need no store."""

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

from watchword.core.errors import InvalidArgument, NotFound
from watchword.core.ids import VerificationId, parse_verification_id
from watchword.core.ports import Millis
from watchword.core.secret import Secret
from watchword.core.text import check_language_code, check_text
from watchword.delivery.carrier import Channel
from watchword.delivery.message import check_android_app_hash, check_web_otp_origin
from watchword.tenancy.model import CodePolicy, Resend, checked_policy

MAX_BINDING_BYTES = 64
MAX_PAIRS = 16
_PURPOSE = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_PAIR_KEY = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}")
_CUSTOM_CODE = re.compile(r"[0-9]{6,10}")
_ANY_CODE = re.compile(r"[0-9]{6,10}")


class PolicyWish(NamedTuple):
    """Parts of the code policy that a Start overrides; 0 and None leave the application's."""

    length: int = 0
    ttl: Millis = 0
    max_checks: int = 0
    resend: Resend | None = None


class StartRequest(NamedTuple):
    """A Start by phone number. `binding` and `action` tie the code to session and deed."""

    phone_number: str
    region_code: str
    channel: Channel
    purpose: str
    action: Mapping[str, str]
    binding: bytes
    policy: PolicyWish
    language_code: str
    web_otp_origin: str
    android_app_hash: str
    tags: Mapping[str, str]
    custom_code: Secret[str] | None
    request_id: str
    body: bytes


class CheckRequest(NamedTuple):
    """A Check by verification id, or by phone number where the id is ""."""

    verification_id: str
    phone_number: str
    code: Secret[str]
    purpose: str
    action: Mapping[str, str]
    binding: bytes
    request_id: str
    body: bytes


def parse_id(verification_id: str) -> VerificationId:
    """Return what a verification id says; a malformed one is `NotFound`, as an unknown one."""
    parsed = parse_verification_id(verification_id)
    if parsed is None:
        raise NotFound("no such verification")
    return parsed


def check_start(request: StartRequest) -> None:
    """Raise `InvalidArgument` naming the first malformed field."""
    check_scope_fields(request.purpose, request.action, request.binding)
    check_language_code(request.language_code, "language_code")
    check_web_otp_origin(request.web_otp_origin)
    check_android_app_hash(request.android_app_hash)
    check_pairs(request.tags, "tags")
    if request.custom_code is not None:
        check_custom_code(request.custom_code)


def check_scope_fields(purpose: str, action: Mapping[str, str], binding: bytes) -> None:
    """Raise `InvalidArgument` where purpose, action or binding is malformed."""
    if purpose and _PURPOSE.fullmatch(purpose) is None:
        raise InvalidArgument("purpose must be 1 to 64 of a-z, 0-9, '_', '.', '-'", field="purpose")
    if action:
        check_pairs(action, "action")
    if len(binding) > MAX_BINDING_BYTES:
        raise InvalidArgument("binding must have at most 64 bytes", field="binding")


def check_pairs(pairs: Mapping[str, str], field: str) -> None:
    """Raise `InvalidArgument` where a map has too many, too long or unprintable entries."""
    if len(pairs) > MAX_PAIRS:
        raise InvalidArgument("at most 16 entries", field=field)
    for key, value in pairs.items():
        if _PAIR_KEY.fullmatch(key) is None:
            raise InvalidArgument(
                "keys must be 1 to 64 of letters, digits, '_', '.', '-'", field=field
            )
        check_text(field, value, 256, 1024)


def check_code(code: Secret[str]) -> None:
    """Raise `InvalidArgument` unless the code is 6 to 10 ASCII digits; never normalises it."""
    if _ANY_CODE.fullmatch(code.reveal()) is None:
        raise code_malformed()


def code_malformed() -> InvalidArgument:
    """Return the refusal of a code that could not be anybody's."""
    return InvalidArgument("code must be ASCII digits of the code's length", field="code")


def check_custom_code(code: Secret[str]) -> None:
    """Raise `InvalidArgument` for a code of another form or one that anybody would try first."""
    text = code.reveal()
    if _CUSTOM_CODE.fullmatch(text) is None:
        raise InvalidArgument("custom_code must be 6 to 10 ASCII digits", field="custom_code")
    steps = {ord(b) - ord(a) for a, b in pairwise(text)}
    if steps in ({0}, {1}, {-1}):
        raise InvalidArgument(
            "custom_code must not repeat one digit or count up or down", field="custom_code"
        )


def merged_policy(policy: CodePolicy, wish: PolicyWish) -> CodePolicy:
    """Return the application's policy with the caller's wishes, within the hard bounds."""
    if wish == PolicyWish():
        return policy
    return checked_policy(
        CodePolicy(
            length=wish.length or policy.length,
            ttl=wish.ttl or policy.ttl,
            max_checks=wish.max_checks or policy.max_checks,
            resend=wish.resend or policy.resend,
        )
    )
