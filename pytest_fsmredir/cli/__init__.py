"""Commands of `python -m pytest_fsmredir`."""
