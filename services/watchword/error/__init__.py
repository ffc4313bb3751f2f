"""The public catalogue of error reasons; holds generated stubs only."""
