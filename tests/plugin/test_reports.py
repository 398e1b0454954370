"""The report files of a run, and the effect of waivers on its verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jsonschema import Draft202012Validator

from pytest_fsmredir import report

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("namespaces")]

SCHEMA = Draft202012Validator(json.loads(Path(report.__path__[0], "schema.json").read_text()))
OPTIONS = """\
implementation:
  organization: ACME
  project: acme-mesh
  url: https://example.com/acme
  version: 1.3.0
  contact: [someone@example.com]
init-cmd: "true"
features: [outbound-port-exclusion]
check: [OUT-001, INIT-003]
ip: 4
waivers:
- {id: OUT-001, reason: the reason, link: 'https://example.com/1', expires: 2999-12-31}
"""
LACKING = """\
from pytest_fsmredir.backends.netns import privileges
from pytest_fsmredir.errors import PreflightError
def acquire(mode):
    raise PreflightError("this machine lacks everything; buy another")
privileges.acquire = acquire
"""
BREAKING = """\
def pytest_runtest_protocol(item):
    raise ValueError("broken hook")
"""


def test_options_file_configures_a_whole_run(project: Project) -> None:
    """Catches: a waived failure that fails, lost metadata, or an unreadable report."""
    project.write(fsmredir__yaml=OPTIONS.replace(", INIT-003", ""))
    ended = project.conform("--fsm-report=out", "--fsm-require=partial")
    assert (ended.status, ended.verdict) == (pytest.ExitCode.OK, "partial"), ended.output
    assert "1 waived" in ended.output
    SCHEMA.validate(ended.report)
    assert ended.outcomes() == ["waived"]
    assert ended.report["implementation"]["version"] == "1.3.0"
    assert ended.report["features"]["source"] == "declared"
    (case,) = [
        case
        for case in project.cases("out/junit.xml")
        if str(case.get("name")).startswith("OUT-001")
    ]
    assert case[0].tag == "skipped"
    assert str(case[0].get("message")).startswith("waived: tcp from uid 1000")


def test_stale_waiver_fails_the_run(project: Project) -> None:
    """Catches: a waiver that outlives its defect, and hides the next one."""
    project.write(fsmredir__yaml=OPTIONS.replace('init-cmd: "true"', "impl: reference"))
    ended = project.conform("--fsm-check=OUT-001")
    assert (ended.status, ended.verdict) == (pytest.ExitCode.TESTS_FAILED, "invalid")
    assert "stale waiver OUT-001 passes" in ended.output


def test_failed_setup_writes_a_report(project: Project) -> None:
    """Catches: no report, or yesterday's report, on CI when the machine lacks a prerequisite."""
    project.write(lacking__py=LACKING)
    ended = project.conform("-p", "lacking", "--fsm-report=out", PYTHONPATH=str(project.path))
    assert ended.status == pytest.ExitCode.USAGE_ERROR
    assert "lacks everything; buy another" in ended.output
    SCHEMA.validate(ended.report)
    assert ended.report["verdict"] == "invalid"
    assert ended.report["run"]["ended"] == "broken"
    assert ended.outcomes() == []
    harness = [
        case for case in project.cases("out/junit.xml") if case.get("classname") == "harness"
    ]
    assert [case[0].tag for case in harness] == ["error"]


def test_internal_error_writes_a_report(project: Project) -> None:
    """Catches: a run that crashes with a good report."""
    project.write(conftest__py=BREAKING)
    ended = project.conform("--fsm-check=OUT-001", "--fsm-report=out")
    assert (ended.status, ended.verdict) == (pytest.ExitCode.INTERNAL_ERROR, "invalid")
    assert "broken hook" in ended.report["run"]["trouble"]
    SCHEMA.validate(ended.report)


def test_error_in_an_explanation_changes_no_outcome(project: Project) -> None:
    """Catches: a failure that becomes our error while it is explained."""
    project.write(yaml__py="")  # stands for a broken installation of what writes the evidence
    ended = project.conform(
        "--fsm-init-cmd=true", "--fsm-check=OUT-001", "--fsm-ip=4", PYTHONPATH=str(project.path)
    )
    assert ended.verdict == "nonconformant", ended.output
    assert "the suite could not explain this: AttributeError" in ended.output
