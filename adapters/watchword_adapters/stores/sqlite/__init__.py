"""The embedded SQLite store: one file for the data, a second one for the keys."""

from watchword_adapters.stores.sqlite.migration import StoreRefused
from watchword_adapters.stores.sqlite.stores import SqliteStores

__all__ = ["SqliteStores", "StoreRefused"]
