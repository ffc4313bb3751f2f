"""Opaque identifiers: a prefix and lower-case hex that sorts by creation time.

Ordinary ids hold 48 bits of milliseconds and 80 random bits (the layout idea of
RFC 9562 UUIDv7, without its version bits). A verification id also carries the code
epoch and the form of its code, so that a code can be derived from the id alone.
"""

import re
from typing import NamedTuple

from watchword.core.ports import DAY, Entropy, Millis

_RANDOM_BYTES = 10
_VERIFICATION = re.compile(r"VE[0-9a-f]{40}")
_ORDINARY = re.compile(r"[A-Z]{2}[0-9a-f]{32}")


def new_id(prefix: str, now: Millis, entropy: Entropy) -> str:
    """Return `prefix` (two capitals) and 32 hex digits."""
    return f"{prefix}{now.to_bytes(6, 'big').hex()}{entropy.token(_RANDOM_BYTES).hex()}"


def is_id(prefix: str, text: str) -> bool:
    """Tell whether `text` has the form of an id with this prefix."""
    return text.startswith(prefix) and _ORDINARY.fullmatch(text) is not None


class VerificationId(NamedTuple):
    """What a verification id says of its codes.

    The code epoch (days since 1970) and the length; whether the code is `fixed` (a caller's
    own or a test number's, not derived) and `renewable` (a resend may mint a new one).
    """

    epoch: int
    length: int
    fixed: bool = False
    renewable: bool = False


_LENGTH_BITS = 0x0F
_FIXED = 0x10
_RENEWABLE = 0x20


def new_verification_id(
    now: Millis, length: int, entropy: Entropy, *, fixed: bool = False, renewable: bool = False
) -> str:
    """Return `VE` and 40 hex digits: time (48 bits), epoch (24), code form (8), random (80)."""
    form = length | _FIXED * fixed | _RENEWABLE * renewable
    head = (now << 32) | (epoch_of(now) << 8) | form
    return f"VE{head.to_bytes(10, 'big').hex()}{entropy.token(_RANDOM_BYTES).hex()}"


def parse_verification_id(text: str) -> VerificationId | None:
    """Return what the id carries, or None where `text` is not the exact form of one."""
    if _VERIFICATION.fullmatch(text) is None:
        return None
    form = int(text[20:22], 16)
    return VerificationId(
        epoch=int(text[14:20], 16),
        length=form & _LENGTH_BITS,
        fixed=bool(form & _FIXED),
        renewable=bool(form & _RENEWABLE),
    )


def send_id_of(verification_id: str, number: int) -> str:
    """Return the id of a verification's send, counted from 1: `SE`, its 40 digits and two more.

    So one index finds a send by its id and a verification's sends by theirs.
    """
    return f"SE{verification_id[2:]}{number:02x}"


def epoch_of(now: Millis) -> int:
    """Return the code epoch of a time: the UTC day, so an epoch lasts 24 hours at most."""
    return now // DAY
