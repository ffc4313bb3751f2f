"""Audit leaves: what every change of an object leaves behind, and nobody can forge.

A leaf commits to the object's content without holding it, and its MAC covers the leaf.
Whoever has the audit key can later open the commitment; whoever has only the leaves
cannot try contents against it.
"""

import hashlib
import hmac
from typing import NamedTuple, TypeAlias

from watchword.core.framing import frame
from watchword.core.keys import KeyProvider, KeyUse
from watchword.core.ports import Millis

_SALT_BYTES = 16
_MAC_BYTES = 32
NONCE_BYTES = 16


class Leaf(NamedTuple):
    """One change of an object: what kind it is, the version made; digests are 32 bytes.

    The `mac` of a delegated leaf (`LeafMaker.delegate`) has its nonce before it.
    """

    account_id: str
    object_id: str
    version: int
    kind: str
    time: Millis
    mac: bytes
    commitment: bytes


class LeafMaker:
    """Makes and verifies leaves under the provider's AUDIT keys."""

    def __init__(self, provider: KeyProvider) -> None:
        """Derive one key for salts and one for MACs from each live version."""
        self._keys = [_sub_keys(key.secret.reveal()) for key in provider.all(KeyUse.AUDIT)]

    def make(
        self,
        account_id: str,
        object_id: str,
        version: int,
        kind: str,
        time: Millis,
        content: bytes,
    ) -> Leaf:
        """Return the leaf of `content`, under the newest key."""
        fields = (account_id, object_id, version, kind, time)
        mac, commitment = _seal(self._keys[0], fields, content)
        return Leaf(account_id, object_id, version, kind, time, mac, commitment)

    def delegate(self, nonce: bytes) -> bytes:
        """Return a key with which a database makes the leaves of one transaction by itself.

        A store that decides in its own language learns only there what a leaf is of, and
        must write it in the same transaction. It gets a key that follows from `nonce`
        (16 bytes, never used twice) and makes, of fixed lengths and so without HMAC:
        names = SHA-256(framed names ‖ version ‖ time), salt = SHA-256(key ‖ names ‖ 0),
        commitment = SHA-256(salt ‖ content) and MAC = nonce ‖ SHA-256(key ‖ names ‖
        commitment). Whoever sees the key while it works can make leaves under that nonce
        and no others.
        """
        return _mac(self._keys[0][2], nonce)

    def verify(self, leaf: Leaf, content: bytes) -> bool:
        """Tell whether a live key made this very leaf, or had it made, for this very content."""
        nonce = leaf.mac[:-_MAC_BYTES]
        return any(
            hmac.compare_digest(
                b"".join(
                    _delegated(_mac(keys[2], nonce), nonce, leaf[:5], content)
                    if nonce
                    else _seal(keys, leaf[:5], content)
                ),
                leaf.mac + leaf.commitment,
            )
            for keys in self._keys
        )


_Keyed: TypeAlias = "hashlib.blake2b"
_Keys = tuple[_Keyed, _Keyed, _Keyed]
_Fields = tuple[str, str, int, str, Millis]


def _sub_keys(root: bytes) -> _Keys:
    # HKDF-Expand (RFC 5869 §2.3), one block each.
    salt, mac, delegate = (
        hmac.digest(root, frame("leaf", label) + b"\x01", "sha256")
        for label in ("salt", "mac", "delegate")
    )
    return _keyed(salt, _SALT_BYTES), _keyed(mac, _MAC_BYTES), _keyed(delegate, _MAC_BYTES)


def _keyed(key: bytes, size: int) -> _Keyed:
    """Return keyed BLAKE2b (RFC 7693 §2.9), ready to be copied: a fifth of an HMAC's cost."""
    return hashlib.blake2b(key=key, digest_size=size)


def _mac(keyed: _Keyed, data: bytes) -> bytes:
    state = keyed.copy()
    state.update(data)
    return state.digest()


def _seal(keys: _Keys, fields: _Fields, content: bytes) -> tuple[bytes, bytes]:
    """Return the MAC and the commitment of one leaf."""
    names = _names(fields)
    # The salt depends on what names the leaf, so it need not be stored to be opened.
    commitment = hashlib.sha256(_mac(keys[0], names) + content).digest()
    return _mac(keys[1], names + commitment), commitment


def _delegated(key: bytes, nonce: bytes, fields: _Fields, content: bytes) -> tuple[bytes, bytes]:
    """Return what a database makes with `key`: the MAC with its nonce, and the commitment."""
    names = hashlib.sha256(_names(fields)).digest()
    salt = hashlib.sha256(key + names + b"\x00").digest()
    commitment = hashlib.sha256(salt + content).digest()
    return nonce + hashlib.sha256(key + names + commitment).digest(), commitment


def _names(fields: _Fields) -> bytes:
    account_id, object_id, version, kind, time = fields
    numbers = version.to_bytes(8, "big") + time.to_bytes(8, "big", signed=True)
    return frame(account_id, object_id, kind) + numbers
