"""``--fsm-benchmark``, as a user runs it. No test asserts a time."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from jsonschema import Draft202012Validator

from pytest_fsmredir import report
from pytest_fsmredir.__main__ import main

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("namespaces")]

SCHEMA = json.loads(Path(report.__path__[0], "schema.json").read_text())
FIGURES = Draft202012Validator({"$defs": SCHEMA["$defs"], "$ref": "#/$defs/benchmark"})
SMALL = (
    "--fsm-benchmark",
    "--fsm-ip=4",
    "--fsm-iptables=nft",
    "--fsm-benchmark-entries=0,3",
    "--fsm-benchmark-rounds=2",
    "--fsm-report=out",
)


def network() -> set[str]:
    """Return the network devices of this machine."""
    return {each.name for each in Path("/sys/class/net").iterdir()}


def check_figures(found: dict[str, Any]) -> None:
    """Require figures of every case, for each size of the list."""
    (point,) = found["points"]
    assert point["variant"] == "nft/v4"
    assert [each["entries"] for each in point["lists"]] == [0, 3]
    for each in point["lists"]:
        assert "notMeasured" not in each
        assert each["rounds"] == 2
        cases = {figure.get("case") for figure in each["figures"]}
        excluded = {"excluded"} if each["entries"] else set()
        assert cases == {None, "captured", "direct", "inbound", "udp"} | excluded
        assert {figure["difference"] for figure in each["figures"]} == {"too few rounds"}


def test_benchmark_alone_writes_figures_and_leaves_nothing(project: Project) -> None:
    """Catches: traffic that takes another path than its row says, or a device that stays."""
    project.write(test_own__py="def test_own(): assert False, 'it ran'")
    before = network()
    ended = project.pytest(*SMALL)
    assert ended.status == pytest.ExitCode.OK, ended.output
    assert "nft/v4: 2 rounds" in ended.output
    assert "it ran" not in ended.output
    found = json.loads((project.path / "out/benchmark.json").read_text())
    FIGURES.validate(found)
    check_figures(found)
    for plot in ("connect-p50.svg", "stream.svg", "datagrams.svg"):
        ET.parse(project.path / "out/benchmark" / plot)  # noqa: S314 - we drew it
    assert network() == before
    assert project.left_running(str(project.path)) == []


def test_benchmark_follows_a_verdict_and_its_report_is_accepted(project: Project) -> None:
    """Catches: figures that change a verdict, or a report that verify rejects."""
    ended = project.conform("--fsm-check=OUT-001", *SMALL)
    assert ended.status == pytest.ExitCode.OK, ended.output
    Draft202012Validator(SCHEMA).validate(ended.report)
    check_figures(ended.report["run"]["benchmark"])
    assert ended.outcomes() == ["pass"]
    assert (project.path / "out/benchmark/stream.svg").exists()
    assert main(["verify", str(project.path / "out")]) == 0


def test_time_to_the_first_byte_through_a_sidecar(project: Project) -> None:
    """Catches: a row that no sidecar makes, or that a direct connection makes.

    A program of ours stands in for Pipy, because no binary of Pipy comes with the tests.
    """
    python = shutil.which("python3", path="/usr/local/bin:/usr/bin")
    if python is None:
        pytest.skip("needs a Python that every user can start")
    program = project.path / "pipy"
    text = Path(__file__).with_name("stand_in_pipy.py").read_text()
    program.write_text(f"#!{python}\n{text}")
    program.chmod(0o755)
    ended = project.pytest(*SMALL, "--fsm-sidecar=pipy", f"--fsm-pipy-bin={program}")
    assert ended.status == pytest.ExitCode.OK, ended.output
    found = json.loads((project.path / "out/benchmark.json").read_text())
    for each in found["points"][0]["lists"]:
        figures = {each.get("case"): each for each in each["figures"] if "first" in each["metric"]}
        assert "captured" in figures, ended.output
        assert figures["captured"]["value"] > 0
    assert "first byte" not in found["notMeasured"]


def test_failing_implementation_is_named(project: Project) -> None:
    """Catches: a traceback for an init command that fails, or a figure without rules."""
    ended = project.pytest(*SMALL, "--fsm-init-cmd=false")
    assert "INTERNALERROR" not in ended.output
    assert "  0 ranges: " in ended.output
    assert "connect p50" not in ended.output


def test_parallel_run_is_refused(project: Project) -> None:
    """Catches: figures that other tests disturb."""
    ended = project.pytest(*SMALL, "-n2")
    assert ended.status == pytest.ExitCode.USAGE_ERROR
    assert "parallel tests would disturb the benchmark" in ended.output
