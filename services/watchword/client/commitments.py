"""The salted commitments by which a receipt speaks of a phone number and an action.

A commitment is base64url without padding (RFC 4648 section 5, RFC 7515 section 2) of
SHA-256 over salt ‖ value: it tells nothing without its salt, and opens to one value.
"""

import base64
import hashlib
from collections.abc import Mapping


def encode_action(action: Mapping[str, str]) -> bytes:
    """Return an action's canonical bytes: its pairs sorted by key, each text with its length.

    Each key and each value is UTF-8, preceded by its size as four big-endian bytes, so that
    no two actions share an encoding. No pairs give no bytes.
    Raises `UnicodeEncodeError` (a `ValueError`) for text that UTF-8 cannot hold.
    """
    return b"".join(_sized(key) + _sized(action[key]) for key in sorted(action))


def encode_phone_number(e164: str) -> bytes:
    """Return a phone number's bytes: its E.164 form, `+` included, in UTF-8."""
    return e164.encode()


def commitment(salt: bytes, value: bytes) -> str:
    """Return what a receipt says of `value`."""
    digest = hashlib.sha256(salt + value).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _sized(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(4, "big") + encoded
