"""Subjects and users: who a phone number stands for within one account."""
