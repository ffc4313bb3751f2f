"""A file of messages that stands for a phone: one JSON object a line, for its owner alone."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

from watchword.delivery.carrier import Message, Unreachable


class Journal:
    """Appends messages to a file of mode 0600.

    Numbers and codes stand there in the clear: never for a production store.
    """

    def __init__(self, path: Path) -> None:
        """Append to `path` once opened."""
        self._path = path
        self._fd = -1

    def open(self) -> None:
        """Open or make the file. Raises `OSError` where that cannot be done."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(self._path, flags, 0o600)
        # A file that was there before may have been open to others.
        os.fchmod(self._fd, 0o600)

    def append(self, message: Message) -> None:
        """Write one line, whole or not at all. Raises `Unreachable`: nothing was sent."""
        # ASCII alone, so that whatever some program takes for the end of a line is escaped.
        line = json.dumps(_fields(message)).encode() + b"\n"
        try:
            size = os.fstat(self._fd).st_size
            if os.write(self._fd, line) != len(line):
                # The disk filled up: half a line would spoil the next one.
                os.ftruncate(self._fd, size)
                raise Unreachable("the message file is full")
        except OSError:
            raise Unreachable("the message file cannot be written") from None

    def close(self) -> None:
        """Close the file; closing twice does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _fields(message: Message) -> dict[str, str]:
    return {
        "send_id": message.send_id,
        "verification_id": message.verification_id,
        "channel": str(message.channel),
        "to": message.to.reveal(),
        "body": message.body.reveal(),
        "code": message.code.reveal(),
        "time": rfc3339(message.time),
    }


def rfc3339(time: int) -> str:
    """Return a time (milliseconds) as RFC 3339, UTC, to the millisecond."""
    text = datetime.fromtimestamp(time / 1000, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
