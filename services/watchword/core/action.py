"""The canonical bytes of an action: what a verification is bound to, as text pairs."""

from collections.abc import Mapping


def encode_action(action: Mapping[str, str]) -> bytes:
    """Return the pairs sorted by key, each text as UTF-8 behind its 4-byte big-endian length."""
    parts = []
    for key in sorted(action):
        for text in (key, action[key]):
            data = text.encode()
            parts.append(len(data).to_bytes(4, "big") + data)
    return b"".join(parts)
