"""From a run to its report files and its summary on the terminal."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from xml.etree import ElementTree as ET

import pytest
import yaml
from jsonschema import Draft202012Validator

from pytest_fsmredir import report
from pytest_fsmredir.errors import SettingsError
from pytest_fsmredir.model.checks import Profile
from pytest_fsmredir.model.outcomes import Outcome, Row, Variant
from pytest_fsmredir.report.facts import facts
from pytest_fsmredir.report.hygiene import Hygiene
from pytest_fsmredir.report.junit import junit
from pytest_fsmredir.report.write import prepare_directory, write_report
from pytest_fsmredir.suite.judgement import judge_run
from tests.unit.runs import (
    CATALOGUE,
    IDENTITY,
    SETTINGS,
    V4,
    V6,
    WAIVER,
    Run,
    row,
    run_of,
    run_on_nodes,
)

ROWS = (
    replace(row("OUT-001", Outcome.PASS), seconds=0.25),
    replace(
        row("OUT-001", Outcome.FAIL, V6, "x: expected a; seen b"),
        flow="x",
        expected="a",
        seen="b (source 10.77.0.1:4711)",
    ),
    row("OUT-002", Outcome.WAIVED, reason="lost"),
)


@pytest.fixture
def config(tmp_path: Path) -> pytest.Config:
    """A pytest configuration with one unknown plugin, a conftest and a setting."""
    conftest = SimpleNamespace(__name__="conftest", __file__=str(tmp_path / "conftest.py"))
    loose = SimpleNamespace(__name__="my_plugin", __file__="/x/my_plugin.py")
    ours = SimpleNamespace(__name__="pytest_fsmredir.plugin", __file__="/x/plugin.py")
    xdist = SimpleNamespace(__name__="xdist.plugin", __file__="/x/xdist/plugin.py")
    distributions = [
        (ours, SimpleNamespace(project_name="pytest-fsmredir", version="1")),
        (xdist, SimpleNamespace(project_name="pytest-xdist", version="3.8")),
    ]
    settings = {"addopts": ["-x"], "python_files": ["check_*.py"]}
    made = SimpleNamespace(
        pluginmanager=SimpleNamespace(
            get_plugins=lambda: {id(p): p for p in (conftest, loose, ours, xdist)}.values(),
            list_plugin_distinfo=lambda: distributions,
        ),
        getini=lambda name: settings.get(name, []),
        rootpath=tmp_path,
        option=SimpleNamespace(numprocesses=2),
        invocation_params=SimpleNamespace(args=("--fsm-conformance", "x\udcff"), dir=tmp_path),
    )
    return cast("pytest.Config", made)


def written(run: Run, config: pytest.Config, directory: Path) -> dict[str, Any]:
    """Write a report, check both its forms, and return the document."""
    hygiene = Hygiene()
    hygiene.notice_surroundings(config)
    files = write_report(run.plan, judge_run(*run), facts(*run, hygiene, config), directory)
    assert sorted(file.name for file in files) == sorted(f.name for f in directory.iterdir())
    document: dict[str, Any] = json.loads((directory / "report.json").read_text())
    assert yaml.safe_load((directory / "report.yaml").read_text()) == document
    return document


def faults(document: dict[str, Any]) -> list[str]:
    """Return the places where a document violates the shipped schema."""
    schema = json.loads(Path(report.__path__[0], "schema.json").read_text())
    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    validator.check_schema(schema)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


def test_row_can_be_sent_between_processes() -> None:
    """Catches: a crash of pytest-xdist, which sends exact types only, at an enum in a row."""
    execnet = pytest.importorskip("execnet")
    variant = Variant(Profile.CORE, Profile.CORE, 4, Profile.CORE)
    row = Row(
        check=Outcome.FAIL, variant=variant, outcome=Outcome.FAIL, reason=Outcome.FAIL,
        flow=Outcome.FAIL, expected=Outcome.FAIL, seen=Outcome.FAIL, symptom=(Outcome.FAIL,),
    )  # fmt: skip
    sent = execnet.loads(execnet.dumps(row.as_dict()))
    assert Row.from_dict(sent) == row


def test_report_matches_its_schema(config: pytest.Config, tmp_path: Path) -> None:
    """Catches: a report that other tools cannot read."""
    settings = replace(SETTINGS, waivers=(WAIVER,), identity=IDENTITY)
    document = written(run_of(*ROWS, settings=settings), config, tmp_path)
    assert faults(document) == []
    assert document["verdict"] == "nonconformant"
    assert document["implementation"] == {
        "name": "sh init.sh", "organization": "ACME", "project": "acme-mesh", "version": "1.3.0",
        "url": "https://example.com", "contact": ["a@example.com"], "mode": "default",
        "command": "sh init.sh",
    }  # fmt: skip
    assert document["profiles"][0] == {
        "name": "core", "verdict": "partial", "proved": False, "total": 4, "pass": 1, "fail": 0,
        "warn": 0, "note": 0, "error": 0, "unsupported": 1, "waived": 1, "notRun": 1,
    }  # fmt: skip
    assert document["waivers"] == [WAIVER.as_dict()]


def test_every_check_and_variant_is_in_the_report(config: pytest.Config, tmp_path: Path) -> None:
    """Catches: a check that is missing from the report because it did not run."""
    document = written(run_of(*ROWS), config, tmp_path)
    assert [(each["id"], each["variant"], each["outcome"]) for each in document["checks"]] == [
        ("OUT-001", "nft/v4", "pass"),
        ("OUT-001", "nft/v6", "fail"),
        ("OUT-002", "nft/v4", "waived"),
        ("OUT-003", "nft/v4", "unsupported"),
        ("OUT-004", "nft/v4", "not-run"),
    ]


def test_schema_refuses_a_wrong_report(config: pytest.Config, tmp_path: Path) -> None:
    """Catches: a schema that accepts everything."""
    document = written(run_of(*ROWS), config, tmp_path)
    document["checks"][0]["outcome"] = "fine"
    document["extra"] = 1
    assert len(faults(document)) == 2


def test_report_of_a_run_that_did_not_start(config: pytest.Config, tmp_path: Path) -> None:
    """Catches: no report, or a good one, where a prerequisite is missing."""
    run = run_of()
    run.results.trouble = "set-up failed: no \x1b[31miptables"
    document = written(run, config, tmp_path)
    assert faults(document) == []
    assert document["verdict"] == "invalid"
    assert {each["outcome"] for each in document["checks"]} == {"not-run", "unsupported"}
    assert (document["run"]["ended"], document["run"]["trouble"]) == (
        "broken", r"set-up failed: no \x1b[31miptables",
    )  # fmt: skip


def test_equal_results_have_equal_digests(config: pytest.Config, tmp_path: Path) -> None:
    """Catches: a digest that depends on the user, the number of runs or the duration."""
    other = (replace(ROWS[0], seconds=9, attempts=2, probes=7), replace(ROWS[1], reason="other"))
    settings = replace(SETTINGS, identity=IDENTITY, seed=4, timeout_s=1)
    here = run_of(*ROWS, settings=settings)
    elsewhere = run_of(*other, ROWS[2], settings=replace(settings, init_cmd="/opt/init.sh"))
    digests = {written(each, config, tmp_path)["resultsDigest"] for each in (here, elsewhere)}
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("rows", "changes"),
    [
        ((ROWS[0], ROWS[1]), {}),
        ((ROWS[0], replace(ROWS[1], outcome=Outcome.PASS), ROWS[2]), {}),
        ((replace(ROWS[0], variant=replace(V4, iptables="legacy")), *ROWS[1:]), {}),
        (ROWS, {"version": "1.3.1"}),
        (ROWS, {"project": "other"}),
    ],
)
def test_different_results_have_different_digests(
    rows: tuple[Row, ...], changes: dict[str, Any], config: pytest.Config, tmp_path: Path
) -> None:
    """Catches: two different results with the same digest."""
    same = run_of(*ROWS, settings=replace(SETTINGS, identity=IDENTITY))
    other = run_of(*rows, settings=replace(SETTINGS, identity=replace(IDENTITY, **changes)))
    digests = {written(each, config, tmp_path)["resultsDigest"] for each in (same, other)}
    assert len(digests) == 2


def test_equal_runs_differ_only_in_volatile_facts(config: pytest.Config, tmp_path: Path) -> None:
    """Catches: reports that cannot be compared because the kernel chose other ports."""
    first = written(run_of(*ROWS), config, tmp_path)
    other_port = replace(ROWS[1], seen="b (source 10.77.0.1:4712)")
    second = written(run_of(ROWS[0], other_port, ROWS[2]), config, tmp_path)
    del first["run"], second["run"]
    assert first == second
    assert first["checks"][1]["seen"] == "b (source 10.77.0.1:*)"


def test_run_has_the_slowest_checks_and_the_commands_to_repeat_them(
    config: pytest.Config, tmp_path: Path
) -> None:
    """Catches: a page without the line to copy, or that calls a check slow that took no time."""
    told = written(run_of(*ROWS), config, tmp_path)["run"]
    where = {"backend": "netns", "variant": "nft/v4"}
    assert told["slowest"] == [{"id": "OUT-001", **where, "seconds": 0.25}]
    assert told["again"][0] == {
        **where,
        "command": "pytest --fsm-conformance --fsm-init-cmd 'sh init.sh' --fsm-ip 4 --fsm-check ",
    }


def test_junit_names_check_profile_and_reason() -> None:
    """Catches: a CI page that shows only "1 failed"."""
    run = run_of(*ROWS, row("OUT-004", Outcome.ERROR, reason="broke \x00\x1b\ud800 it"))
    root = ET.fromstring(junit(CATALOGUE, judge_run(*run).rows, "internal error"))  # noqa: S314 - ours
    told = {
        (suite.get("name"), case.get("classname"), case.get("name")): [
            (each.tag, each.get("message")) for each in case
        ]
        for suite in root
        for case in suite
    }
    v4 = "netns/nft-v4"
    assert told == {
        (v4, "core", "OUT-001 does this and that"): [],
        (v4, "core", "OUT-002 does this and that"): [("skipped", "waived: lost")],
        (v4, "core", "OUT-003 does this and that"): [
            ("skipped", "unsupported: not claimed: outbound-port-exclusion")
        ],
        (v4, "core", "OUT-004 does this and that"): [("error", r"broke \x00\x1b\ud800 it")],
        ("netns/nft-v6", "ipv6", "OUT-001 does this and that"): [
            ("failure", "x: expected a; seen b")
        ],
        ("harness", "harness", "the harness works"): [("error", "internal error")],
    }
    assert root[0].attrib == {
        "name": v4, "tests": "4", "failures": "0", "errors": "1", "skipped": "2", "time": "0.250",
    }  # fmt: skip


def test_directory_that_cannot_be_written_is_refused_early(tmp_path: Path) -> None:
    """Catches: an hour of checks whose report cannot be written at the end."""
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="--fsm-report"):
        prepare_directory(tmp_path / "file")
    prepare_directory(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_hygiene_lists_other_plugins_and_settings(config: pytest.Config) -> None:
    """Catches: a plugin that skips checks, and a report that does not mention it."""
    hygiene = Hygiene()
    hygiene.notice_surroundings(config)
    hygiene.notice_selection(["a", "b", "c"], ["c", "a"])
    hygiene.merge({"deselected": 0, "reordered": False, "conftests": ["sub/conftest.py"]})
    told = hygiene.as_dict(reruns=2)
    assert told == {
        "deselected": 1, "reruns": 2, "reordered": True, "workers": 2,
        "plugins": ["my_plugin", "pytest-xdist 3.8"],
        "foreignConftests": ["conftest.py", "sub/conftest.py"],
        "settings": {"addopts": "-x", "python_files": "check_*.py", **variables(told)},
    }  # fmt: skip
    assert hygiene.remarks(2) == [
        "1 selected check deselected by pytest",
        "2 checks run again (the worst outcome stands)",
        "order of the checks changed by a plugin",
    ]


def variables(told: dict[str, Any]) -> dict[str, str]:
    """Return the pytest environment variables of these tests."""
    return {name: text for name, text in told["settings"].items() if name.startswith("PYTEST_")}


def test_ordinary_run_has_no_remarks() -> None:
    """Catches: a note under every run, which users learn to ignore."""
    hygiene = Hygiene()
    hygiene.notice_selection(["a", "b"], ["a", "b"])
    assert hygiene.remarks(0) == []


def test_report_has_a_verdict_for_each_node(config: pytest.Config, tmp_path: Path) -> None:
    """Catches: a verdict about several kernels that does not name the failing one."""
    document = written(run_on_nodes(), config, tmp_path)

    assert faults(document) == []
    assert [(each["name"], each["verdict"], each["fail"]) for each in document["nodes"]] == [
        ("a.b", "conformant", 0), ("c", "nonconformant", 1),
    ]  # fmt: skip
    rows = [each for each in document["checks"] if each["id"] == "OUT-001"]
    assert [(each["backend"], each["node"], each["outcome"]) for each in rows] == [
        ("kind", "a.b", "pass"), ("kind", "c", "fail"),
    ]  # fmt: skip
    suites = ET.parse(tmp_path / "junit.xml").iter("testsuite")  # noqa: S314 - we wrote it
    assert [each.get("name") for each in suites] == ["kind:a.b/nft-v4", "kind:c/nft-v4"]
