"""A pytest plugin that runs the tests in an order drawn from the seed in FSM_ORDER."""

from __future__ import annotations

import os
import random

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Shuffle what was collected."""
    if seed := os.environ.get("FSM_ORDER"):
        random.Random(seed).shuffle(items)  # noqa: S311 - no secret
