"""A report on CI: annotations, summary, badge, and the script of the GitHub Action."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
import yaml

from pytest_fsmredir.cli import summary as command
from pytest_fsmredir.model.outcomes import Outcome
from pytest_fsmredir.report.publish import badge, summary, workflow_commands
from pytest_fsmredir.report.read import read_report
from tests.unit.reports import forge, row_of, write

if TYPE_CHECKING:
    from tests.unit.conftest import Project

ROOT = Path(__file__).parents[2]


def test_annotation_names_check_and_cause(project: Project) -> None:
    """Catches: an annotation that only says that something failed, or one a check of hundreds."""
    directory = write(
        project,
        outcomes={"OUT-001": Outcome.FAIL, "UID-001": Outcome.FAIL, "OUT-011": Outcome.WARN},
    )
    lines = list(workflow_commands(read_report(directory)))
    assert lines == [
        "::error title=OUT-001 remote address is captured::on netns-nft-v4: x: expected a; seen b"
        " (2 more checks with this symptom)"
    ]


def test_annotation_cannot_be_another_command(project: Project) -> None:
    """Catches: a reason that sets an output or a mask of the job."""
    directory = write(project, outcomes={"OUT-001": Outcome.FAIL})
    hostile = "50%\n::set-output name=verdict::conformant\r\x1b[2J"
    forge(directory, lambda d: row_of(d, "OUT-001").update(reason=hostile, title="a: b, c"))
    (line,) = workflow_commands(read_report(directory))
    assert line.startswith("::error title=OUT-001 a%3A b%2C c::on netns-nft-v4: 50%25%0A::set")
    assert not set("\n\r\x1b") & set(line)


def test_summary_has_each_profile_and_cause(project: Project) -> None:
    """Catches: a summary whose reader has to open the log."""
    directory = write(project, outcomes={"OUT-001": Outcome.FAIL})
    text = summary(read_report(directory))
    assert text.startswith("## sh init.sh: nonconformant\n")
    assert re.search(r"^\| core \| nonconformant \| \d+ \| 1 \| 0 \|", text, re.MULTILINE)
    assert "| fail | OUT-001 remote address is captured |" in text


def test_badge_is_an_image_with_a_name(project: Project) -> None:
    """Catches: a badge that a screen reader cannot read, or that is no XML."""
    root = ET.fromstring(badge(read_report(write(project))))  # noqa: S314 - our own text
    assert root.get("aria-label") == "FSM redirection: conformant"
    assert {element.text for element in root.findall(".//{*}text")} == {
        "FSM redirection",
        "conformant",
    }


def test_command_writes_what_is_asked(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches: a summary that replaces those of other steps, or a missing output."""
    directory, folder = write(project), project.path
    (folder / "summary.md").write_text("before\n")
    arguments = [f"--append-to={folder / 'summary.md'}", f"--output={folder / 'output'}"]
    assert command.main([str(directory), *arguments, f"--badge={folder / 'badge.svg'}"]) == 0
    assert capsys.readouterr().out == ""
    assert (folder / "summary.md").read_text().startswith("before\n## sh init.sh: conformant")
    assert (folder / "output").read_text() == "verdict=conformant\n"
    assert (folder / "badge.svg").read_text().startswith("<svg")
    assert command.main([str(directory)]) == 0
    assert capsys.readouterr().out.startswith("## sh init.sh")
    assert command.main([str(folder / "nowhere")]) == 2


ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
STEP = next(step for step in ACTION["runs"]["steps"] if step.get("id") == "run")


def test_action_gives_every_input_to_its_script() -> None:
    """Catches: an input that has no effect."""
    given = {name: text for name, text in STEP["env"].items() if name.startswith("INPUT_")}
    assert given == {
        f"INPUT_{name.upper().replace('-', '_')}": f"${{{{ inputs.{name} }}}}"
        for name in ACTION["inputs"]
        if name != "python"
    }
    script = (ROOT / ".ci" / "action").read_text()
    assert {name for name in given if name not in script} == set()


def test_no_input_is_part_of_a_command() -> None:
    """Catches: a pull request that runs its own commands through the name of a branch."""
    runs = [step["run"] for step in ACTION["runs"]["steps"] if "run" in step]
    assert [text for text in runs if "${{" in text] == []
    assert all(step.get("shell") == "bash" for step in ACTION["runs"]["steps"] if "run" in step)
