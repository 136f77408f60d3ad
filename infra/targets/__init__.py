"""Where a stack can stand: one folder per target."""
