"""Key providers: each guards root keys."""
