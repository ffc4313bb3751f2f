"""The fixed codes of test numbers, opened for the Start that needs one."""

from watchword.core.phone import PhoneNumber
from watchword.core.ports import Clock
from watchword.core.secret import Secret
from watchword.tenancy.directory import Directory
from watchword.tenancy.model import Application
from watchword.vault.index import BlindIndex
