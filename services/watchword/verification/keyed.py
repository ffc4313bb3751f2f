"""The keyed values by which rows are found and compared; none can be inverted without the keys."""

from collections.abc import Mapping

from watchword.core.action import encode_action
from watchword.vault.index import BlindIndex


class KeyedValues:
    """Turns what callers send into what rows keep, per account and application."""

    def __init__(self, index: BlindIndex) -> None:
        """Derive with the account's index key."""
        self._index = index

    def binding(self, account_id: str, application_id: str, binding: bytes) -> bytes:
        """Return the key of a binding, b"" for none."""
        if not binding:
            return b""
        return self._index.value(account_id, application_id, "binding", binding)

    def action(self, account_id: str, application_id: str, action: Mapping[str, str]) -> bytes:
        """Return the MAC of an action, b"" for none."""
        if not action:
            return b""
        return self._index.value(account_id, application_id, "action", encode_action(action))
