"""The stores in memory: the oracle of the contract suites, and a fast store for tests.

Nothing is durable. Commands run one at a time on the event loop, each all or nothing.
"""

from watchword.audit.leaf import LeafMaker
from watchword.core.keys import KeyProvider
from watchword.core.ports import ChangeBus, Clock, Entropy
from watchword.testing.keys import MemoryKeyProvider, MemoryKeyStore
from watchword.testing.memory_account import MemoryAccountStore
from watchword.testing.memory_rows import MemoryEngine
from watchword.testing.memory_verification import MemoryOutbox, MemoryVerificationStore


class MemoryStores:
    """All ports over one memory; `engine.tables` shows what is kept."""

    def __init__(
        self,
        clock: Clock,
        bus: ChangeBus,
        *,
        world: str = "dev",
        provider: KeyProvider | None = None,
        entropy: Entropy | None = None,
    ) -> None:
        """Begin empty."""
        leaves = LeafMaker(provider or MemoryKeyProvider())
        self.world = world
        self.engine = MemoryEngine(clock, bus)
        self.keystore = MemoryKeyStore(entropy)
        self.verification = MemoryVerificationStore(self.engine, leaves)
        self.outbox = MemoryOutbox(self.engine, leaves)
        self.account = MemoryAccountStore(clock, bus, leaves)
        self.tenancy = self.account

    async def check(self) -> None:
        """Return: memory can always serve."""

    async def close(self) -> None:
        """Let go of nothing."""
