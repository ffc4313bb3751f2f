"""One-time codes, derived and never stored (RFC 4226 HOTP, RFC 5869 HKDF).

A code is HOTP under a key of its own verification, with the generation as counter:
generation 0 is the first code, and each resend that mints a new code uses the next.
HOTP's 31 bits leave no bias worth naming at 6 digits and little at 8.
"""

import hmac
import re

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.hotp import HOTP

from watchword.core.framing import frame
from watchword.core.secret import Secret

GENERATIONS = 6
"""How many generations a verification can have: one first send and five more."""

MIN_LENGTH = 6
MAX_LENGTH = 8

_FORMS = {length: re.compile(rf"[0-9]{{{length}}}") for length in range(6, 11)}


def code_key(epoch_key: bytes, verification_id: str, application_id: str) -> bytes:
    """Return the key of one verification's codes, 32 bytes.

    HKDF-Expand with SHA-256 (RFC 5869 §2.3). The extract step is left out as §3.3
    allows, for an epoch key is 32 uniform bytes; and 32 bytes of output are one block:
    a single HMAC over the info and the block number.
    """
    info = frame("code", verification_id, application_id)
    return hmac.digest(epoch_key, info + b"\x01", "sha256")


def derive_code(key: bytes, generation: int, length: int) -> Secret[str]:
    """Return the code of `generation` with `length` digits (6 to 8).

    Raises `ValueError` where generation or length is out of bounds.
    """
    if not 0 <= generation < GENERATIONS:
        raise ValueError("the generation is out of bounds")
    _require_length(length)
    return Secret(_generator(key, length).generate(generation).decode())


def matching_generations(key: bytes, code: str, length: int, generations: int = GENERATIONS) -> int:
    """Return a bit mask of the generations (0 up to `generations`) whose code equals `code`.

    Computes and compares all of them in constant time, so that the time tells nothing;
    which one counts is for the store to decide. Raises `ValueError` out of bounds.
    """
    _require_length(length)
    if not 0 < generations <= GENERATIONS:
        raise ValueError("the number of generations is out of bounds")
    submitted = code.encode("utf-8", "surrogatepass")
    hotp = _generator(key, length)
    mask = 0
    for generation in range(generations):
        mask |= hmac.compare_digest(hotp.generate(generation), submitted) << generation
    return mask


def is_code(text: str, length: int) -> bool:
    """Tell whether `text` is exactly `length` (6 to 10) ASCII digits; nothing is normalised."""
    form = _FORMS.get(length)
    return form is not None and form.fullmatch(text) is not None


def _require_length(length: int) -> None:
    if not MIN_LENGTH <= length <= MAX_LENGTH:
        raise ValueError("the code length is out of bounds")


def _generator(key: bytes, length: int) -> HOTP:
    return HOTP(key, length, SHA1())  # noqa: S303 - RFC 4226 §5.1 has HMAC-SHA-1
