"""Implementations that do nothing, refuse, hang, print garbage or leave processes behind."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_fsmredir.backends.kubernetes.agents.archive import agent_archive, template_libraries

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("namespaces")]

ACME = Path(__file__).parent / "acme_mesh"
RULES = """\
*nat
:OUT - [0:0]
-A OUTPUT -p tcp -j OUT
-A OUT -m owner --uid-owner {{ proxy_uid }} -j RETURN
-A OUT -o lo -j RETURN
{% for port in outbound_port_exclusion_list %}
-A OUT -p tcp --dport {{ port }} -j RETURN
{% endfor %}
-A OUT -p tcp -j REDIRECT --to-ports {{ outbound_port }}
COMMIT
"""


RAISING = """\
import pytest
class It:
    name, features = "it", frozenset()
    def program(self, target):
        pytest.skip("not here")
it = It()
"""


def test_command_that_does_nothing_is_nonconformant(project: Project) -> None:
    """Catches: an empty command that passes, or a failure that does not show the flow."""
    ended = project.conform("--fsm-init-cmd=true", "--fsm-check=OUT-001,UID-001", "--fsm-ip=4")
    assert (ended.status, ended.verdict) == (pytest.ExitCode.TESTS_FAILED, "nonconformant")
    lines = [line.strip() for line in ended.output.splitlines()]
    assert "expected     captured outbound" in lines
    assert any(line.startswith("seen         accepted by the destination") for line in lines)
    assert (
        "again        pytest --fsm-conformance --fsm-init-cmd true --fsm-ip 4 --fsm-check OUT-001"
    ) in lines


PORTS = "FSM_OUTBOUND_PORT_EXCLUSION_LIST"
REFERENCE = f"{sys.executable} -m pytest_fsmredir reference apply"

SCRIPT = f"""\
#!/bin/sh
[ -z "$(ls -A)" ] && exec {sys.executable} -m pytest_fsmredir reference apply
"""


@pytest.mark.parametrize("source", ["command line", "environment", "ini", "options file"])
def test_relative_command_starts_in_the_users_directory(project: Project, source: str) -> None:
    """Catches: a documented ``./my-init.sh`` that is not found from an empty directory."""
    here = project.path / "of mesh" if source == "options file" else project.path
    here.mkdir(exist_ok=True)
    script = here / "my-init.sh"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    command, arguments, environment = "./my-init.sh", list[str](), dict[str, str]()
    if source == "command line":
        arguments = ["--fsm-init-cmd", command]
    elif source == "environment":
        environment = {"FSM_INIT_CMD": command}
    elif source == "ini":
        project.write(pytest__ini=f"[pytest]\nfsm_init_cmd = {command}\n")
    else:
        (here / "own.yaml").write_text(f"init-cmd: {command}\n")
        arguments = ["--fsm-options", "of mesh/own.yaml"]
    ended = project.conform(*arguments, "--fsm-check=OUT-001", "--fsm-ip=4", **environment)
    assert ended.status == pytest.ExitCode.OK, ended.output
    assert f"implementation: {command}" in ended.output


@pytest.mark.parametrize("source", ["environment", "-o", "-c"])
def test_rerun_command_works_in_another_shell(project: Project, source: str) -> None:
    """Catches: a re-run command that judges the reference, because the option is missing in it."""
    project.write(other__ini="[pytest]\nfsm_init_cmd = true\n")
    arguments = {"environment": [], "-o": ["-o", "fsm_init_cmd=true"], "-c": ["-c", "other.ini"]}
    environment = {"FSM_INIT_CMD": "true"} if source == "environment" else {}
    ended = project.conform(*arguments[source], "--fsm-check=OUT-001", "--fsm-ip=4", **environment)
    again = "pytest --fsm-conformance --fsm-init-cmd true --fsm-ip 4 --fsm-check OUT-001"
    assert f"again        {again}" in [line.strip() for line in ended.output.splitlines()]
    assert project.pytest(*again.split()[1:]).verdict == "nonconformant"


def test_refusal_is_shown_with_its_reason_and_without_control_bytes(project: Project) -> None:
    """Catches: control bytes of a command on the terminal, or a refusal without a reason."""
    project.write(init__sh="printf '\\033[2J\\000\\377 cannot do that\\n' >&2\nexit 3\n")
    command = f"sh {project.path}/init.sh; exit $?"
    ended = project.conform(
        "--fsm-init-cmd", command, "--fsm-check=OUT-001", "--fsm-ip=4", "--fsm-report=out"
    )
    assert ended.status == pytest.ExitCode.TESTS_FAILED
    assert "the init command exited 3: \\x1b[2J\\x00\ufffd cannot do that" in ended.output
    assert "\x1b" not in ended.output
    assert ended.report["verdict"] == "nonconformant"


def test_failure_shows_the_tables_that_a_command_left(project: Project) -> None:
    """Catches: a failure that shows only the last five lines of the rules."""
    command = f"{sys.executable} -m pytest_fsmredir reference apply; iptables-save >&2; exit 1"
    ended = project.conform("--fsm-init-cmd", command, "--fsm-check=OUT-001", "--fsm-ip=4")
    lines = ended.output.splitlines()
    assert any(line.startswith("-A OUTPUT ") for line in lines), ended.output
    assert any(line.startswith("-A PREROUTING ") for line in lines)
    told = next(line for line in lines if line.startswith("FAIL   SELF-001"))
    assert "-A OUTPUT " not in told


def test_command_that_hangs_on_every_pod_is_run_once(project: Project) -> None:
    """Catches: a run that waits half a minute in each of a hundred pods."""
    project.write(init__sh="echo x >>$0.count\nsleep 30\n")
    ended = project.conform(
        "--fsm-init-cmd", f"sh {project.path}/init.sh", "--fsm-init-timeout=0.3",
        "--fsm-check=OUT-001,OPX-00*", "--fsm-ip=4",
    )  # fmt: skip
    assert ended.verdict == "nonconformant"
    assert (project.path / "init.sh.count").read_text() == "x\n"
    assert "the init command did not end in time and was killed" in ended.output


def test_command_that_hangs_on_lists_is_not_run_again(project: Project) -> None:
    """Catches: a run that waits half a minute in each pod with a list."""
    hang = f'[ -z "${PORTS}" ] || {{ echo x >>$0.count; sleep 30; }}\n'
    project.write(init__sh=hang)
    ended = project.conform(
        "--fsm-init-cmd", f"sh {project.path}/init.sh", "--fsm-init-timeout=0.3",
        "--fsm-check=OPX-00*", "--fsm-ip=4",
    )  # fmt: skip
    assert ended.verdict == "nonconformant"
    assert (project.path / "init.sh.count").read_text() == "x\nx\n"
    assert "was not run: it hung for 0.3 s on each of the last" in ended.output


LONG_LISTS = """
from ipaddress import ip_network
from itertools import islice
from shutil import which

import pytest

VARIANTS = ["nft", "legacy", *(["native"] if which("nft", path="/usr/sbin:/usr/bin") else [])]
RANGES = {4: ip_network("100.64.0.0/10"), 6: ip_network("2001:db8:1::/106")}


@pytest.mark.parametrize("fsm_iptables", VARIANTS, indirect=True)
@pytest.mark.parametrize("fsm_family", [4, 6], indirect=True)
def test_long_lists(fsm_mesh, fsm_family):
    prefix = {4: 25, 6: 121}[fsm_family]
    subnets = list(islice(RANGES[fsm_family].subnets(new_prefix=prefix), 20_000))
    ranges, ports = list(map(str, subnets[::2])), range(20_001, 30_001)
    pod = fsm_mesh.pod(
        mesh_config={
            "outboundIPRangeExclusionList": ranges,
            "outboundPortExclusionList": ports,
            "inboundPortExclusionList": ports,
        }
    )
    for port, direct in ((20_000, False), (20_001, True), (30_000, True), (30_001, False)):
        assert bool(pod.connect(fsm_mesh.server, port).direct) is direct
        assert bool(fsm_mesh.client.connect(pod, port).direct) is direct
    for number in (0, 1, 9_998, 9_999, 19_998, 19_999):
        assert bool(pod.connect(str(subnets[number][9]), 8080).direct) is (number % 2 == 0)
"""


# The kernel takes longer messages of netlink than net.core.wmem_max from root alone (netlink(7)).
@pytest.mark.skipif(os.geteuid() != 0, reason="lists of this length need root: net.core.wmem_max")
@pytest.mark.parametrize("option", [(), ("--fsm-init-cmd", REFERENCE)], ids=["object", "command"])
def test_lists_of_any_length_reach_the_implementation(
    project: Project, option: tuple[str, ...]
) -> None:
    """Catches: "Argument list too long", or a long list that is truncated or lost."""
    project.write(test_long__py=LONG_LISTS)
    ended = project.pytest(*option)
    assert ended.status == pytest.ExitCode.OK, ended.output


NEWLINE = r"""
def test_newline(fsm_mesh):
    programming = fsm_mesh.try_pod(mesh_config={"outboundPortExclusionList": ["80\n443"]})
    assert r"\n443' is not a port" in programming.reason
"""


@pytest.mark.parametrize("command", [REFERENCE, f"unset {PORTS}; {REFERENCE}"])
def test_item_with_a_newline_stays_one_malformed_item(project: Project, command: str) -> None:
    """Catches: an item that becomes two valid ones on its way to the command."""
    project.write(test_newline__py=NEWLINE)
    ended = project.pytest("--fsm-init-cmd", command)
    assert "1 passed" in ended.output, ended.output


def test_child_that_a_command_leaves_ends_with_it(project: Project) -> None:
    """Catches: a process that remains after the run."""
    marker = f"7{os.getpid()}"
    command = f"sleep {marker} & python3 -m pytest_fsmredir reference apply"
    ended = project.conform(
        "--fsm-init-cmd", command.replace("python3", sys.executable), "--fsm-check=OUT-001"
    )
    assert ended.status == pytest.ExitCode.OK, ended.output
    assert project.left_running(f"sleep {marker}") == []


def test_command_that_signals_its_process_group_does_not_end_the_run(project: Project) -> None:
    """Catches: a run without a verdict, killed by the ``trap 'kill 0' EXIT`` of a command."""
    apply = f"{sys.executable} -m pytest_fsmredir reference apply"
    ended = project.conform(
        "--fsm-init-cmd", f"trap 'kill 0' EXIT; {apply}", "--fsm-check=OUT-001", "--fsm-ip=4"
    )
    assert (ended.status, ended.verdict) == (pytest.ExitCode.OK, "partial"), ended.output


def test_command_cannot_see_which_check_is_running(project: Project) -> None:
    """Catches: an implementation that is correct only for the checks that it recognizes."""
    ended = project.conform(
        "--fsm-init-cmd", "env >&2; exit 1", "--fsm-check=OUT-001", "--fsm-ip=4",
        PYTEST_DEBUG_TEMPROOT=str(project.path),
    )  # fmt: skip
    assert "the init command exited 1" in ended.output
    assert "PYTEST_" not in ended.output


def test_pod_without_one_ip_version_is_judged_by_the_other(project: Project) -> None:
    """Catches: errors and later failures where an implementation disables IPv6."""
    apply = f"{sys.executable} -m pytest_fsmredir reference apply"
    off = "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6"
    ended = project.conform(
        "--fsm-init-cmd", f"{off}; {apply}", "--fsm-check=LIFE-00[139],COEX-004,OUT-001",
        "--fsm-features=-ipv6", "--fsm-report=out",
    )  # fmt: skip
    assert ended.status == pytest.ExitCode.OK, ended.output
    assert set(ended.outcomes()) == {"pass"}


def test_exception_of_an_implementation_is_an_error_of_each_check(project: Project) -> None:
    """Catches: an unprogrammed pod that the next check takes for a programmed one."""
    project.write(broken__py=RAISING)
    ended = project.conform(
        "--fsm-impl=broken:it", "--fsm-check=OUT-00[1-3]", "--fsm-ip=4", "--fsm-report=out",
        PYTHONPATH=str(project.path),
    )  # fmt: skip
    assert (ended.status, ended.verdict) == (pytest.ExitCode.TESTS_FAILED, "invalid")
    assert ended.outcomes() == ["error"] * 3
    reasons = [row["reason"] for row in ended.report["checks"] if row["outcome"] == "error"]
    assert all("Skipped: not here" in reason for reason in reasons), reasons


def test_rules_file_is_judged_like_any_other(project: Project) -> None:
    """Catches: rules that are loaded without the lists, or an IPv6 run without IPv6 rules."""
    project.write(rules__v4=RULES)
    ended = project.conform(
        "--fsm-rules=rules.v4", "--fsm-check=OUT-001,OPX-001", "--fsm-report=out"
    )
    assert ended.status == pytest.ExitCode.OK, ended.output
    assert ended.outcomes("OUT-001", "OPX-001") == ["pass", "unsupported"] * 2
    assert ended.report["implementation"]["rulesDigest"].startswith("sha256:")
    assert ended.report["features"]["source"] == "inferred"


def test_ipv6_leak_is_not_a_failure_if_ipv6_is_declared_unsupported(project: Project) -> None:
    """Catches: an IPv4-only implementation that fails for IPv6, which it does not claim."""
    project.write(rules__v4=RULES)
    ended = project.conform(
        "--fsm-rules=rules.v4",
        "--fsm-features=-ipv6",
        "--fsm-check=OUT-001,V6-001,V6-002,RES-003",
        "--fsm-report=out",
    )
    assert ended.status == pytest.ExitCode.OK, ended.output
    found = ended.outcomes("OUT-001", "V6-001", "V6-002", "RES-003")
    assert sorted(found) == ["pass"] + ["unsupported"] * 4
    assert "ipv6         not claimed" in ended.output


def test_rules_file_programs_the_pod_of_its_init_container(project: Project) -> None:
    """Catches: a template with another result in an init container, or with missing tools there."""
    project.write(rules__v4=RULES)
    for name, content in (("agent", agent_archive()), ("libraries", template_libraries())):
        (project.path / name).write_bytes(content)
    agent, libraries, rules = (project.path / n for n in ("agent", "libraries", "rules.v4"))
    command = f"{sys.executable} -I -S {agent} rules {libraries} {rules}"
    ended = project.conform(
        "--fsm-init-cmd", command, "--fsm-check=OUT-001,OPX-001", "--fsm-ip=4", "--fsm-report=out"
    )  # fmt: skip
    assert ended.outcomes("OUT-001", "OPX-001") == ["pass", "pass"], ended.output


def test_implementation_of_another_package(project: Project) -> None:
    """Catches: an entry point that is not found, or claims that are ignored."""
    site = install(project.path / "site")
    ended = project.conform(
        "--fsm-impl=acme", "--fsm-check=OUT-001,OPX-001,OIX-001", "--fsm-ip=4", "--fsm-report=out",
        PYTHONPATH=str(site),
    )  # fmt: skip
    assert ended.status == pytest.ExitCode.OK, ended.output
    assert ended.outcomes() == ["pass", "pass"]
    assert ended.outcomes("OIX-001") == ["unsupported"]
    assert ended.report["implementation"]["version"] == "1.3.0"
    assert ended.report["features"]["claimed"] == ["outbound-port-exclusion"]


def install(site: Path) -> Path:
    """Put the example where pip would put it, without network access."""
    import tomllib

    project = tomllib.loads((ACME / "pyproject.toml").read_text())["project"]
    information = site / f"acme_mesh_fsmredir-{project['version']}.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    groups = project["entry-points"]
    (information / "entry_points.txt").write_text(
        "".join(
            f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
            for group, points in groups.items()
        )
    )
    (site / "acme_mesh.py").write_text((ACME / "acme_mesh.py").read_text())
    return site


@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("echo a list is missing >&2; exit 3", "exited 3: a list is missing"),
        ("X=1 no-such-tool", "exited 127"),
        ("sh /nowhere/init.sh", "/nowhere/init.sh"),
    ],
)
def test_implementation_that_refuses_the_plainest_pod_fails_once(
    project: Project, command: str, words: str, workers: str
) -> None:
    """Catches: 288 failures of an implementation that never starts."""
    if workers != "0":
        pytest.importorskip("xdist")
    ended = project.conform(
        f"--fsm-init-cmd={command}", "--fsm-check=OUT-00[12],SAN-001,INIT-004", "--fsm-ip=4",
        "--fsm-report=out", "-n", workers,
    )  # fmt: skip
    assert (ended.status, ended.verdict) == (pytest.ExitCode.TESTS_FAILED, "nonconformant")
    assert ended.outcomes() == ["fail"]
    assert ended.outcomes("OUT-001", "OUT-002", "SAN-001", "INIT-004") == ["not-run"] * 4
    (gate,) = [row for row in ended.report["checks"] if row["outcome"] == "fail"]
    assert (gate["id"], gate["expected"]) == ("SELF-001", "acceptance of the default configuration")
    assert words in gate["seen"]
    assert "4  SELF-001 failed: the implementation does not program a pod" in ended.output


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("no-such-tool --all", "there is no program 'no-such-tool' on PATH"),
        ("./my-ini.sh", "did you mean 'my-init.sh'?"),
        ("./my-init.sh --all", "is not executable: chmod +x it"),
    ],
)
def test_command_that_does_not_exist_is_a_usage_error(
    project: Project, command: str, words: str
) -> None:
    """Catches: a run that judges a typo."""
    (project.path / "my-init.sh").write_text("#!/bin/sh\n")
    ended = project.conform(f"--fsm-init-cmd={command}", "--fsm-check=OUT-001", "--fsm-ip=4")
    assert (ended.status, ended.verdict) == (pytest.ExitCode.USAGE_ERROR, "")
    assert f"--fsm-init-cmd: {command!r} cannot be run: " in ended.output
    assert words in ended.output


def test_gate_cannot_be_waived(project: Project) -> None:
    """Catches: a waiver that turns a run without observations into a partial success."""
    waiver = "{id: SELF-001, reason: known, link: 'https://example.com/1'}"
    project.write(fsmredir__yaml=f"waivers: [{waiver}]\n")
    ended = project.conform("--fsm-init-cmd=false", "--fsm-check=OUT-001", "--fsm-ip=4")
    assert ended.status == pytest.ExitCode.USAGE_ERROR
    assert "waiver SELF-001: no other check runs unless this one passes" in ended.output
