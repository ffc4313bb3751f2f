"""Accounts, applications, credentials and policies, as the services read them."""
