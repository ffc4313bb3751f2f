"""Limits, budgets and signals against guessing and pumping."""
