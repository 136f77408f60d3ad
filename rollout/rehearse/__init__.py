"""Before the release: what this plan would do with this traffic, simulated with the judge's own functions."""
