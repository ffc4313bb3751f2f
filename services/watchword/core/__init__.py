"""Values and ports that every floor may use; no I/O."""
