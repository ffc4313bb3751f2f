"""A change bus that remembers what it was told."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager


class RecordingBus:
    """A `ChangeBus` without watchers: `published` holds every id, in order."""

    def __init__(self) -> None:
        """Begin with nothing told."""
        self.published: list[str] = []

    def publish(self, object_id: str) -> None:
        """Note the id."""
        self.published.append(object_id)

    def subscribe(self, object_id: str) -> AbstractAsyncContextManager[AsyncIterator[None]]:
        """Refuse: nobody watches here."""
        raise NotImplementedError("a RecordingBus has no watchers")
