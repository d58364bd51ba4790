"""Other libraries beside genlab, where they are installed."""
