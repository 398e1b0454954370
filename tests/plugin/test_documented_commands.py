"""Commands in README and documentation do what the text says."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
HINTS = ROOT / "pytest_fsmredir" / "report" / "terminal.py"

APPLY = f"#!/bin/sh\nexec {sys.executable} -m pytest_fsmredir reference apply\n"
TOOLS = ("istio-iptables", "linkerd2-proxy-init", "kumactl", "consul")

_COMMAND = re.compile(r"^ *pytest (.*--fsm-(?:init-cmd|options) [^\"\n]*)$", re.MULTILINE)
_KEYWORD = re.compile(r"`-k ([^`]+)`")


def documented(pattern: re.Pattern[str], *files: Path) -> list[str]:
    """Return the matches of a pattern in some files; continued lines are joined."""
    texts = [file.read_text(encoding="utf-8").replace("\\\n", "") for file in files]
    return sorted({found for text in texts for found in pattern.findall(text)})


COMMANDS = [
    shlex.split(line, comments=True)
    for line in documented(_COMMAND, *PAGES, HINTS)
    if "--fsm-pause-on-fail" not in line  # needs a terminal: see test_pause.py
]
KEYWORDS = documented(_KEYWORD, README)


def executable(file: Path, script: str = APPLY) -> None:
    """Make a program. By default it programs the pod that it runs in."""
    file.write_text(script)
    file.chmod(0o755)


def test_there_are_commands() -> None:
    """Catches: an extraction that finds no commands."""
    named = {command[-1] for command in COMMANDS}
    assert named >= {"./my-init.sh", *(f"fixtures/adapters/{name}.yaml" for name in TOOLS)}
    assert KEYWORDS


@pytest.mark.kernel
@pytest.mark.usefixtures("namespaces")
@pytest.mark.parametrize("command", COMMANDS, ids=shlex.join)
def test_command_judges_what_it_names(project: Project, command: list[str]) -> None:
    """Catches: a documented command that does not find the program that it names."""
    shutil.copytree(ROOT / "docs" / "example", project.path, dirs_exist_ok=True)
    (project.path / "fixtures").symlink_to(ROOT / "fixtures")
    tools = project.path / "tools"
    tools.mkdir()
    for file in (project.path / "my-init.sh", *(tools / name for name in TOOLS)):
        executable(file)
    executable(tools / "getent", "#!/bin/sh\n")  # kumactl needs a user with uid 1500
    ended = project.pytest(
        *command, "--fsm-ip=4", FSM_CHECK="OUT-001",  # some commands run the user's own tests
        PATH=os.pathsep.join([str(tools), os.environ["PATH"]]),
    )  # fmt: skip
    assert ended.status == pytest.ExitCode.OK, ended.output


@pytest.mark.parametrize("expression", KEYWORDS)
def test_expression_selects_some_checks(project: Project, expression: str) -> None:
    """Catches: a documented ``-k`` that selects nothing, or everything."""
    ended = project.conform("--co", "-q", "-k", *shlex.split(expression))
    assert ended.status == pytest.ExitCode.OK, ended.output
    assert "deselected" in ended.output
