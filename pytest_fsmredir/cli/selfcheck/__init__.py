"""``selfcheck print``: a check that pods run in themselves."""
