"""The printed self-check: one file for any Python of a pod, with the pod's lists."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from pytest_fsmredir.agent.selfcheck.policy import Policy, Unseen, read_policy
from pytest_fsmredir.cli.selfcheck.command import main
from pytest_fsmredir.cli.selfcheck.joining import joined
from tests.structure import imports

OLDEST = (3, 8)
DEPLOYMENT = """\
kind: Service
spec: {}
---
kind: Deployment
spec:
  template:
    metadata:
      annotations: {flomesh.io/outbound-port-exclusion-list: "5432"}
"""
MESH_CONFIG = "spec: {traffic: {outboundPortExclusionList: [6379]}}"


def namespace(text: str) -> dict[str, object]:
    """Return the names of a printed check, without a run of it."""
    names: dict[str, object] = {"__name__": "selfcheck"}
    exec(compile(text, "check.py", "exec"), names)  # noqa: S102
    return names


def test_printed_check_needs_nothing_but_an_old_python(tmp_path: Path) -> None:
    """Catches: an import of this package, or syntax that the Python of a pod does not know."""
    text = joined({"outbound_port_exclusion_list": ["5432"]})
    file = tmp_path / "check.py"
    file.write_text(text)

    ast.parse(text, feature_version=OLDEST)
    assert {name.split(".")[0] for name in imports(file)} <= sys.stdlib_module_names


def test_modules_have_no_name_in_common() -> None:
    """Catches: a module that replaces a function of another once they are one file."""
    tree = ast.parse(joined({}))
    definitions = (ast.FunctionDef, ast.ClassDef)
    names = Counter(node.name for node in tree.body if isinstance(node, definitions))
    assigned = [t.id for n in tree.body if isinstance(n, ast.Assign) for t in n.targets
                if isinstance(t, ast.Name)]  # fmt: skip
    names.update(assigned)
    assert [name for name, count in names.items() if count > 1] == []


def test_both_scopes_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches: a list that is taken from the workload or from the mesh only."""
    workload, mesh = tmp_path / "deployment.yaml", tmp_path / "mesh.yaml"
    workload.write_text(DEPLOYMENT)
    mesh.write_text(MESH_CONFIG)
    inbound = "flomesh.io/inbound-port-exclusion-list=9090, 9091"

    status = main(
        ["print", f"--annotations={workload}", f"--mesh-config={mesh}", f"--annotation={inbound}"]
    )

    assert status == 0
    assert namespace(capsys.readouterr().out)["PRINTED"] == {
        "outbound_port_exclusion_list": ["6379", "5432"],
        "inbound_port_exclusion_list": ["9090", "9091"],
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("kind: Service", "it holds 0 pods or workloads, not 1"),
        (DEPLOYMENT + "---\n" + DEPLOYMENT, "it holds 2 pods or workloads, not 1"),
        ("[", "expected the node content"),
        (DEPLOYMENT.replace("5432", "70000"), "'70000' is not a port"),
    ],
)
def test_bad_input_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, reason: str
) -> None:
    """Catches: a check that is printed without the lists of the pod."""
    file = tmp_path / "pod.yaml"
    file.write_text(text)

    assert main(["print", f"--annotations={file}"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert reason in printed.err


def test_lists_of_the_environment_are_added(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: annotations of the downward API that replace the lists of the mesh."""
    printed = {"outbound_port_exclusion_list": ["6379"]}
    monkeypatch.setattr("pytest_fsmredir.agent.selfcheck.policy.PRINTED", printed)

    found = read_policy({"FSM_OUTBOUND_PORT_EXCLUSION_LIST": " 5432, 6379,"})

    assert found.ports == [6379, 5432]
    assert read_policy({}) == Policy([], [], [6379], [], [])


def test_malformed_item_of_the_environment_is_not_skipped() -> None:
    """Catches: a check that judges by half of a list."""
    with pytest.raises(Unseen, match="'80-90' is not a port"):
        read_policy({"FSM_INBOUND_PORT_EXCLUSION_LIST": "80-90"})


def test_check_without_lists_says_which_item_it_cannot_read() -> None:
    """Catches: a traceback, or status 1, which blames the rules."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", joined({})],
        env={**os.environ, "FSM_OUTBOUND_IP_RANGE_EXCLUSION_LIST": "10.0.0.0/33"},
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout.startswith("not checked: the lists cannot be read: '10.0.0.0/33'")
