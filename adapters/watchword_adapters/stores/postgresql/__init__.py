"""The store on PostgreSQL, which any number of replicas share."""

from watchword_adapters.stores.postgresql.schema import StoreRefused
from watchword_adapters.stores.postgresql.stores import PostgresStores

__all__ = ["PostgresStores", "StoreRefused"]
