"""A pytest plugin that notes the processor time of each process of a run with workers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

NOTES = "BENCHMARK_NOTES"
"""The environment variable with the folder for a file of each process: seconds."""


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Note the time of this process; that of a worker includes the programs that it started."""
    used = os.times()
    worker = getattr(config, "workerinput", {}).get("workerid")
    programs = used.children_user + used.children_system if worker else 0.0
    seconds = used.user + used.system + programs
    Path(os.environ[NOTES], worker or "controller").write_text(f"{seconds}")
