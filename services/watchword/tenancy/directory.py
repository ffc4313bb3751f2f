"""The tenancy as the hot path reads it: from memory, refreshed when it changes."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from watchword.core.ports import ChangeBus
from watchword.tenancy.model import Account, Application, Credential, TestNumber

T = TypeVar("T")

TENANCY_TOPIC = "tenancy"
"""What the change bus is told, beside the object's id, after every change of the tenancy."""


class TenancyReader(Protocol):
    """Port: reads one committed object by its id; every store has one.

    Returns None for what does not exist. Raises `Unavailable` where the store is down.
    """

    def revision(self) -> int | None:
        """Return a number that moves when another process has changed the tenancy.

        MUST be None where such a change may have gone unnoticed for 5 s: then nothing that
        was read earlier may be used.
        """
        ...

    async def account(self, account_id: str) -> Account | None:
        """Return the account."""
        ...

    async def application(self, application_id: str) -> Application | None:
        """Return the application."""
        ...

    async def application_by_spiffe(self, spiffe_id: str) -> Application | None:
        """Return the one application that this SPIFFE id is mapped to."""
        ...

    async def credential(self, credential_id: str) -> Credential | None:
        """Return the credential, revoked ones included."""
        ...

    async def test_number(self, application_id: str, phone_index: bytes) -> TestNumber | None:
        """Return the application's test number, expired ones included."""
        ...


class Directory:
    """Caches what a `TenancyReader` reads; `forget` is called after each commit that changes it.

    What was read under another revision, or while the reader knows none, is read again: a
    database that is away then shows as `Unavailable`, never as a revoked credential that
    still serves. Absent objects are not cached, so that guessing ids cannot fill the memory.
    Beyond `capacity` entries the cache starts anew.
    """

    def __init__(self, reader: TenancyReader, capacity: int = 10_000) -> None:
        """Read through `reader`."""
        self._reader = reader
        self._capacity = capacity
        self._cache: dict[str, object] = {}
        self._generation = 0
        self._revision: int | None = None

    def forget(self, object_id: str) -> None:  # noqa: ARG002 - what may be kept can grow
        """Drop everything: changes are rare, and SPIFFE ids map to objects by content."""
        self._generation += 1
        self._cache.clear()

    async def account(self, account_id: str) -> Account | None:
        """Return the account or None."""
        cached = self._kept(account_id)
        if isinstance(cached, Account):
            return cached
        return await self._load(account_id, self._reader.account)

    async def application(self, application_id: str) -> Application | None:
        """Return the application or None."""
        cached = self._kept(application_id)
        if isinstance(cached, Application):
            return cached
        return await self._load(application_id, self._reader.application)

    async def application_by_spiffe(self, spiffe_id: str) -> Application | None:
        """Return the application that the certificate's SPIFFE id is mapped to, or None."""
        cached = self._kept(spiffe_id)
        if isinstance(cached, Application):
            return cached
        return await self._load(spiffe_id, self._reader.application_by_spiffe)

    async def credential(self, credential_id: str) -> Credential | None:
        """Return the credential or None."""
        cached = self._kept(credential_id)
        if isinstance(cached, Credential):
            return cached
        return await self._load(credential_id, self._reader.credential)

    async def test_number(self, application_id: str, phone_index: bytes) -> TestNumber | None:
        """Return the test number or None; never cached, it is off the hot path."""
        return await self._reader.test_number(application_id, phone_index)

    def _kept(self, key: str) -> object:
        return self._cache.get(key) if self._holds() else None

    async def _load(self, key: str, read: Callable[[str], Awaitable[T | None]]) -> T | None:
        holds, generation = self._holds(), self._generation
        found = await read(key)
        # A change that came during the read must not be overwritten by older data.
        if found is not None and holds and self._holds() and generation == self._generation:
            if len(self._cache) >= self._capacity:
                self._cache.clear()
            self._cache[key] = found
        return found

    def _holds(self) -> bool:
        """Tell whether what is in the cache may be used; drops it where it has changed."""
        revision = self._reader.revision()
        if revision != self._revision:
            self._revision = revision
            self.forget(TENANCY_TOPIC)
        return revision is not None


async def follow(directory: Directory, bus: ChangeBus) -> None:
    """Forget after every change that the bus tells, another process's included; never returns.

    The process that makes a change calls `forget` itself before it answers, so that a
    revocation holds at once.
    """
    async with bus.subscribe(TENANCY_TOPIC) as changes:
        async for _ in changes:
            directory.forget(TENANCY_TOPIC)
