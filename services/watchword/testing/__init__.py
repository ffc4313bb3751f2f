"""Contract suites and fakes for carriers, stores and key providers."""
