"""Accounts, applications, credentials and test numbers: their management."""
