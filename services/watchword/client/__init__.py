"""What a Python back end imports to call Watchword and verify its receipts."""
