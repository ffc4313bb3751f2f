"""The audit ledger: one leaf for each state change."""
