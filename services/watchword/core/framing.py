"""An unambiguous encoding of several values as one string of bytes.

Whatever is hashed, keyed or authenticated over more than one value goes through
`frame`, so that no two different lists of values give the same bytes.
"""


def frame(*parts: str | bytes) -> bytes:
    """Return each part (text as UTF-8) after its length in four bytes, big-endian."""
    framed = b""
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        framed += len(data).to_bytes(4, "big") + data
    return framed
