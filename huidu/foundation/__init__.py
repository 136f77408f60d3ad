"""What every room stands on: outcomes, errors, clocks, the journal, Prometheus, notifications, files."""
