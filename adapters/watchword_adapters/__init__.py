"""Adapters of Watchword to carriers, stores and key providers."""
