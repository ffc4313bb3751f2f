"""How a queued message reaches a carrier, at least once and never late."""
