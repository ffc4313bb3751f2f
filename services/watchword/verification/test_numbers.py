"""The fixed codes of test numbers, opened for the Start that needs one."""

from dataclasses import dataclass

from watchword.core.phone import PhoneNumber
from watchword.core.ports import Clock
from watchword.core.secret import Secret
from watchword.tenancy.directory import Directory
from watchword.tenancy.model import Application
from watchword.vault.envelope import aad, unwrap
from watchword.vault.index import BlindIndex
from watchword.vault.keyring import KeyProvider


@dataclass(slots=True)
class TestNumbers:
    """Knows which fictitious numbers an application may verify without a message."""

    # Not a test class, whatever its name says to a collector.
    __test__ = False

    directory: Directory
    provider: KeyProvider
    index: BlindIndex
    clock: Clock

    async def code_of(self, application: Application, phone: PhoneNumber) -> Secret[str] | None:
        """Return the fixed code, or None where the number is not a live test number."""
        index = self.index.phone(application.account_id, phone.e164)
        row = await self.directory.test_number(application.application_id, index)
        if row is None or self.clock.now() >= row.expire_time:
            return None
        place = aad("test_number", row.row_name, "code", row.account_id)
        return Secret(unwrap(self.provider, row.code_sealed, place).decode())
