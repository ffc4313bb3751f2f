"""Keys, envelopes and blind indexes: how personal values are kept."""
