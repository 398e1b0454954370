"""``.ci/setup``: the output of the first run of ``.ci/conformance`` during the installation."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = """\
#!/bin/sh
# Stands for python3, and for .venv/bin/python.
[ "$1 $2" = "-m venv" ] || exit 0
mkdir -p "$3/bin" && cp "$0" "$3/bin/python"
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with the script, and a PATH with a substitute for each program that it needs."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "setup", tmp_path / ".ci" / "setup")
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("iptables", "ip", "newuidmap", "pgrep", "python3"):
        (programs / name).write_text(PYTHON)
        (programs / name).chmod(0o755)
    return tmp_path


def setup(checkout: Path, *arguments: str) -> str:
    path = os.pathsep.join([str(checkout / "programs"), os.environ["PATH"]])
    done = subprocess.run(
        ["/bin/sh", str(checkout / ".ci" / "setup"), *arguments],
        env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return done.stderr


def test_only_the_first_run_reports_an_installation(checkout: Path) -> None:
    """Catches: half a minute of silence, or an installation in every run."""
    first = setup(checkout, "[dev]")
    assert "setup: making a virtual environment in .venv" in first
    assert "setup: installing pytest-fsmredir[dev]" in first
    assert setup(checkout, "[dev]") == ""


def test_changed_extras_and_requirements_are_installed(checkout: Path) -> None:
    """Catches: an environment that keeps the requirements of an earlier commit."""
    setup(checkout)
    assert "installing pytest-fsmredir[dev]" in setup(checkout, "[dev]")
    (checkout / "pyproject.toml").write_text("[project]\ndependencies = []\n")
    assert "installing pytest-fsmredir and" in setup(checkout)
