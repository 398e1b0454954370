"""Machines that have nft and no iptables, real or simulated."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from pytest_fsmredir import Need
from pytest_fsmredir.suite import catalogue

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.usefixtures("namespaces"),
    pytest.mark.skipif(
        not shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin"),
        reason="nft is not installed: apt-get install nftables",
    ),
]

REFERENCE = f"{sys.executable} -m pytest_fsmredir reference"
WITHOUT_IPTABLES = """
from pytest_fsmredir.backends.netns import programs

path = programs._path_without_iptables()
programs.search_path = lambda: path
"""
LISTS = """
import pytest

LISTS = {
    "outboundIPRangeExclusionList": ["198.51.100.0/24", "198.51.100.0/25", "2001:db8:5::/64"],
    "outboundPortExclusionList": [6379, 6380, 6379],
    "inboundPortExclusionList": [1, 65535],
}

@pytest.mark.fsm_pod(mesh_config=LISTS)
@pytest.mark.parametrize("fsm_family", [4, 6], indirect=True)
def test_lists(fsm_pod, fsm_mesh):
    assert fsm_pod.connect(fsm_mesh.client, 8080).captured_outbound
    assert fsm_pod.connect(fsm_mesh.client, 6380).direct
    assert fsm_mesh.client.connect(fsm_pod, 65535).direct
    assert fsm_mesh.client.connect(fsm_pod, 65534).captured_inbound
    assert fsm_pod.datagram(fsm_mesh.client, 8080).direct
"""


def test_reference_conforms_without_iptables(project: Project) -> None:
    """Catches: nft rules that treat a packet differently from the iptables rules."""
    ended = project.conform(
        "--fsm-check=OUT-00*,IN-00*,O*X-00*,OII-00*,UID-00*",
        "--fsm-iptables=native",
        "--fsm-strict",
    )
    assert ended.verdict == "partial", ended.output
    assert "nonconformant" not in ended.output
    assert " · nft " in ended.output


def test_command_finds_nft_and_no_iptables(project: Project) -> None:
    """Catches: a command that seems to work without iptables, and uses it."""
    script = (
        "for it in iptables ip6tables-restore iptables-nft xtables-nft-multi; do"
        " ! command -v $it || exit 9; done;"
        f" command -v nft ip && [ $FSM_IPTABLES = native ] && {REFERENCE} apply"
    )
    project.write(test_lists__py=LISTS)
    ended = project.pytest("--fsm-init-cmd", script, "--fsm-iptables=native")
    assert "2 passed" in ended.output, ended.output


def test_second_run_replaces_rules_and_removal_deletes_them(project: Project) -> None:
    """Catches: an exclusion that outlives its list, or a flush of another program's table."""
    project.write(
        test_again__py="""
PORTS = "outboundPortExclusionList"

def rules(programs, pod):
    done = programs.run(pod, ["nft", "list", "ruleset"])
    assert done.status == 0, done.stderr
    return done.stdout

def test_again(fsm_mesh, fsm_implementation, fsm_programmer, fsm_foreign_programs):
    programs = fsm_foreign_programs
    pod = fsm_mesh.bare_pod()
    table = "add table inet others; add chain inet others c { type nat hook output priority 0; }"
    assert programs.run(pod, ["nft", table]).status == 0
    before = rules(programs, pod)
    fsm_programmer.program(pod, mesh_config={PORTS: [6379]})
    first = rules(programs, pod)
    assert pod.connect(fsm_mesh.server, 6379).direct
    fsm_programmer.program(pod, mesh_config={PORTS: [7070]})
    assert pod.connect(fsm_mesh.server, 6379).captured_outbound
    assert pod.connect(fsm_mesh.server, 7070).direct
    fsm_programmer.program(pod, mesh_config={PORTS: [6379]})
    assert rules(programs, pod) == first
    assert not fsm_programmer.try_program(pod, mesh_config={PORTS: [0]}).accepted
    assert rules(programs, pod) == first
    for _ in range(2):
        done = programs.run(pod, ["sh", "-c", f"FSM_IPTABLES=native {fsm_implementation.remove}"])
        assert done.status == 0, done.stderr
        assert rules(programs, pod) == before
"""
    )
    project.write(
        conftest__py=f"""
import pytest
from pytest_fsmredir.implementations.init_command import InitCommand

@pytest.fixture(scope="session")
def fsm_implementation():
    made = InitCommand({f"{REFERENCE} apply"!r})
    made.remove = {f"{REFERENCE} remove"!r}
    return made
"""
    )
    ended = project.pytest("--fsm-iptables=native")
    assert "1 passed" in ended.output, ended.output


def test_machine_without_iptables_is_judged_natively(project: Project) -> None:
    """Catches: a run that requires iptables although nothing in it needs iptables."""
    project.write(conftest__py=WITHOUT_IPTABLES)
    ended = project.conform("--fsm-check=OUT-001", "--fsm-report=out")
    assert ended.outcomes("OUT-001") == ["pass", "pass"], ended.output
    assert {row["variant"] for row in ended.report["checks"]} == {"native/v4", "native/v6"}


def test_foreign_rules_are_added_without_iptables(project: Project) -> None:
    """Catches: an undecidable check on such a machine, so that no run is conformant."""
    project.write(conftest__py=WITHOUT_IPTABLES)
    checks = [check for check in catalogue.load().checks if Need.FOREIGN_RULES in check.needs]
    named = ",".join(check.id for check in checks if Need.BOTH_VARIANTS not in check.needs)
    ended = project.conform(f"--fsm-check={named}", "--fsm-strict", "--fsm-report=out")
    assert set(ended.outcomes(*named.split(","))) == {"pass", "note"}, ended.output
    assert not ended.outcomes("INIT-006")


def test_iptables_variant_is_refused_without_iptables(project: Project) -> None:
    """Catches: a run of another variant than the requested one."""
    project.write(conftest__py=WITHOUT_IPTABLES)
    ended = project.conform("--fsm-iptables=nft", "--fsm-check=OUT-001")
    assert ended.status == pytest.ExitCode.USAGE_ERROR
    assert "the program 'iptables-nft' is not installed" in ended.output


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--fsm-rules=own.rules",), "--fsm-rules: a rules file is input of iptables-restore"),
        (("--fsm-backend=kind",), "--fsm-iptables: native: our own image of pods has no nft"),
    ],
)
def test_options_that_need_iptables_are_refused(
    project: Project, option: tuple[str, ...], message: str
) -> None:
    """Catches: a refusal in every pod for a fact that is known before the first one."""
    (project.path / "own.rules").write_text("*nat\nCOMMIT\n")
    ended = project.conform(*option, "--fsm-iptables=native", "--fsm-check=OUT-001")
    assert ended.status == pytest.ExitCode.USAGE_ERROR
    assert message in ended.output
