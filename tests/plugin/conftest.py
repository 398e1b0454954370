"""Running pytest with the plugin in a project made up for the purpose, as a user would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

QUICK = ("--fsm-check=OUT-001", "--fsm-ip=4")
"""As little as can be run."""


@dataclass(frozen=True)
class Ended:
    """A run of pytest that is over.

    Attributes:
        status: Its exit status.
        output: All it printed.
        directory: Where it ran.
    """

    status: int
    output: str
    directory: Path

    @property
    def verdict(self) -> str:
        """The verdict it printed; empty for none."""
        lines = [line for line in self.output.splitlines() if line.startswith("verdict: ")]
        return lines[-1].removeprefix("verdict: ") if lines else ""

    @property
    def report(self) -> dict[str, Any]:
        """The report it wrote to ``out``."""
        document: dict[str, Any] = json.loads((self.directory / "out/report.json").read_text())
        return document

    def outcomes(self) -> dict[tuple[str, str], str]:
        """Return the outcome of each row of its report that ran."""
        return {
            (row["id"], row["variant"]): row["outcome"]
            for row in self.report["checks"]
            if row["outcome"] != "not-run"
        }


class Project:
    """A directory that somebody runs pytest in.

    Attributes:
        path: Where it is.
    """

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.path = pytester.path
        self._pytester = pytester

    def write(self, **files: str) -> None:
        """Write files; two underscores in a name stand for its dot."""
        for name, text in files.items():
            (self.path / name.replace("__", ".")).write_text(text)

    def pytest(self, *arguments: str, **environment: str) -> Ended:
        """Run pytest to its end, in a process of its own."""
        with pytest.MonkeyPatch.context() as patch:
            for name, text in environment.items():
                patch.setenv(name, text)
            # Hypothesis has its plugin import it at the end of every run, which takes a second.
            done = self._pytester.runpytest_subprocess(
                "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *arguments, timeout=60
            )
        return Ended(int(done.ret), "\n".join([*done.outlines, *done.errlines]), self.path)

    def conform(self, *arguments: str, **environment: str) -> Ended:
        """Run the suite to its end."""
        return self.pytest("--fsm-conformance", *arguments, **environment)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the options of whoever runs these tests out of them."""
    for name in [each for each in os.environ if each.startswith(("FSM_", "PYTEST_"))]:
        if name != "PYTEST_CURRENT_TEST":
            monkeypatch.delenv(name)


@pytest.fixture
def project(pytester: pytest.Pytester) -> Project:
    """An empty directory to run pytest in."""
    return Project(pytester)


@pytest.fixture(scope="session")
def namespaces() -> None:
    """Skip where network namespaces cannot be had; ``doctor`` says why."""
    argv = [sys.executable, "-m", "pytest_fsmredir", "doctor"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        pytest.skip(done.stdout)
