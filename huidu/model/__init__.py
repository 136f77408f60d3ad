"""The types and files that rooms share. Pure: no network, no clocks, no database."""
