"""The port to the root keys, and the proof that they are the right ones.

A store records a key-check value for each key that it was ever used with; a server
compares them before it serves, so that a wrong or lost key is noticed before anything
is written under it.
"""

import hmac
from collections.abc import Mapping, Sequence

from watchword.core.framing import frame
from watchword.core.keys import KEY_BYTES, Key, KeyProvider, KeyUse
from watchword.core.ports import MINUTE, Millis

__all__ = [
    "KEY_BYTES",
    "PUBLISH_LEAD",
    "Key",
    "KeyProvider",
    "KeyUse",
    "WrongKey",
    "active",
    "check_value",
    "verify_check_values",
]

PUBLISH_LEAD: Millis = 10 * MINUTE
"""How long a new key is held by every replica, and published, before it is used."""

_CHECK_VALUE_BYTES = 16


class WrongKey(Exception):
    """A root key is missing or is not the one that the store was made with.

    The text names the use and the version, never the key.
    """


def active(keys: Sequence[Key], time: Millis, lead: Millis = PUBLISH_LEAD) -> Key:
    """Return the version to use at `time`: the newest one that is at least `lead` old.

    Where none is, the oldest: the first key of a deployment serves at once. `keys` is
    newest first and not empty.
    """
    for key in keys:
        if key.create_time + lead <= time:
            return key
    return keys[-1]


def check_value(key: Key) -> bytes:
    """Return the key-check value of `key`: 16 bytes that prove it and do not give it away."""
    text = frame("key check value", key.use, str(key.version))
    return hmac.digest(key.secret.reveal(), text, "sha256")[:_CHECK_VALUE_BYTES]


def verify_check_values(
    provider: KeyProvider, recorded: Mapping[tuple[KeyUse, int], bytes]
) -> dict[tuple[KeyUse, int], bytes]:
    """Hold the provider's keys to what a store recorded; return what is to be recorded yet.

    Raises `WrongKey` where a recorded key differs or is missing.
    """
    held = {(key.use, key.version): check_value(key) for use in KeyUse for key in provider.all(use)}
    for (use, version), value in recorded.items():
        if (use, version) not in held:
            raise WrongKey(
                f"the {use} key, version {version}, is missing: restore it from its backup;"
                " a new key would not open what is stored"
            )
        if not hmac.compare_digest(held[use, version], value):
            raise WrongKey(
                f"the {use} key, version {version}, is not the one this store was made with:"
                " restore the right key files"
            )
    return {name: value for name, value in held.items() if name not in recorded}
