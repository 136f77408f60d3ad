"""The bench: how this judge and today's gates decide on the same evidence, measured by simulation."""
