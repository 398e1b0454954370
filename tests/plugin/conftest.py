"""Run pytest with the plugin in a temporary project, as a user does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed


@dataclass(frozen=True)
class Ended:
    """A finished run of pytest.

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
        """The verdict that it printed; empty for none."""
        lines = [line for line in self.output.splitlines() if line.startswith("verdict: ")]
        return lines[-1].removeprefix("verdict: ") if lines else ""

    @property
    def report(self) -> dict[str, Any]:
        """The report that it wrote to ``out``."""
        document: dict[str, Any] = json.loads((self.directory / "out/report.json").read_text())
        return document

    def outcomes(self, *checks: str) -> list[str]:
        """Return the outcomes of some checks, or of all that ran, in the order of the report."""
        return [
            row["outcome"]
            for row in self.report["checks"]
            if (row["id"] in checks if checks else row["outcome"] not in ("not-run", "unsupported"))
        ]


class Project:
    """A directory for runs of pytest.

    Attributes:
        path: Where it is.
    """

    def __init__(self, pytester: pytest.Pytester, cache: Path) -> None:
        self.path = pytester.path
        self._pytester, self._cache = pytester, cache

    def write(self, **files: str) -> None:
        """Write files; two underscores in a name stand for its dot."""
        for name, text in files.items():
            (self.path / name.replace("__", ".")).write_text(text)

    def pytest(self, *arguments: str, **environment: str) -> Ended:
        """Run pytest to its end, in a new process."""
        with pytest.MonkeyPatch.context() as patch:
            # Share compiled files between runs, whatever the machine's settings are.
            patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
            for name, text in {**environment, "PYTHONPYCACHEPREFIX": str(self._cache)}.items():
                patch.setenv(name, text)
            # The plugin of Hypothesis imports it at the end of every run, which takes a second.
            done = self._pytester.runpytest_subprocess(
                "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *arguments, timeout=60
            )
        return Ended(int(done.ret), "\n".join([*done.outlines, *done.errlines]), self.path)

    def running(self, words: str) -> list[str]:
        """Return the command lines of all processes that contain these words."""
        found = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):  # it has ended meanwhile
                line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found += [line] if words in line else []
        return found

    def left_running(self, words: str, within_s: float = 10.0) -> list[str]:
        """Return the command lines that still contain these words after a while.

        A killed process disappears only when the kernel has ended all of its namespace.
        """
        waiting = Retrying(
            retry=retry_if_result(bool),
            stop=stop_after_delay(within_s),
            wait=wait_fixed(0.05),
            retry_error_callback=lambda state: state.outcome and state.outcome.result(),
        )
        return list(waiting(self.running, words))

    def cases(self, file: str) -> list[ET.Element]:
        """Return the test cases of a JUnit file."""
        return list(ET.parse(self.path / file).iter("testcase"))  # noqa: S314 - we wrote it

    def conform(self, *arguments: str, **environment: str) -> Ended:
        """Run the suite to its end."""
        return self.pytest("--fsm-conformance", *arguments, **environment)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the user's pytest options from the environment of these tests."""
    for name in [each for each in os.environ if each.startswith(("FSM_", "PYTEST_"))]:
        if name != "PYTEST_CURRENT_TEST":
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for the compiled files of the runs."""
    return tmp_path_factory.mktemp("bytecode")


@pytest.fixture
def project(pytester: pytest.Pytester, bytecode: Path) -> Project:
    """An empty directory to run pytest in."""
    return Project(pytester, bytecode)


@pytest.fixture(scope="session")
def namespaces() -> None:
    """Skip where network namespaces are not available; ``doctor`` says why."""
    argv = [sys.executable, "-m", "pytest_fsmredir", "doctor"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        pytest.skip(done.stdout)
