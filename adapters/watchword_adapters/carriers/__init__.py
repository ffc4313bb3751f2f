"""Carriers: each takes a message to a person."""
