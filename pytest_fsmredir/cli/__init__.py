"""The commands of ``python -m pytest_fsmredir``."""
