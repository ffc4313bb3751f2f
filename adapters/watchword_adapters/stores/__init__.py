"""Stores: each keeps what the ports promise to keep."""
