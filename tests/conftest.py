"""Plugins of the project's own tests; pytest takes their names from the topmost conftest only."""

pytest_plugins = ["pytester"]
