"""Which files are served, and what a refusal says."""

import os
import sqlite3
import stat
from pathlib import Path

import pytest
from conftest_types import OpenStores

from watchword.core.keys import KeyUse
from watchword.testing import verification_cases as cases
from watchword.testing.clock import FakeClock
from watchword.testing.keys import MemoryKeyProvider
from watchword_adapters.stores.sqlite import StoreRefused, schema
from watchword_adapters.stores.sqlite.place import check_place
