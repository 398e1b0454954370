"""Run the reference as a command in network namespaces; the checks test the packets."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_fsmredir.procs import run_any

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root"),
]

WITHOUT_REDIRECTION = """\
*nat
-D PREROUTING -p tcp -j FSMREDIR_IN
-D OUTPUT -p tcp -j FSMREDIR_OUT
-F
-X FSMREDIR_IN
-X FSMREDIR_OUT
-X FSMREDIR_TO_INBOUND
-X FSMREDIR_TO_OUTBOUND
-A OUTPUT -p udp -j ACCEPT
COMMIT
"""
# The new port makes the table nat fail after the table mangle is committed.
BROKEN_BEHIND_MANGLE = """\
#!/bin/sh
exec {real} "$@" <<END
$(sed '/^\\*nat/,$s/443/no-such-port/')
END
"""
COMMAND = (sys.executable, "-m", "pytest_fsmredir.implementations.reference.command")
PROGRAMS = [
    family + end for family in ("iptables", "ip6tables") for end in ("", "-restore", "-save")
]
TABLES = ("mangle", "nat")
# The namespace lives as long as the process in it, which waits for the end of its input.
HOLDER = ("unshare", "--net", "sh", "-c", "echo made; exec cat")
ROOT = Path(__file__).parents[2]


class Pod:
    """A network namespace with one iptables variant first on PATH."""

    def __init__(self, pid: int, variant: str, bin_dir: Path) -> None:
        self.enter = ("nsenter", f"--net=/proc/{pid}/ns/net")
        self.environment = {
            "PATH": f"{bin_dir}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "FSM_IPTABLES": variant,
            "POD_IPS": "10.77.0.2,fd00:77::2",
        }
        self.bin_dir = bin_dir

    def reference(self, action: str, *before: str, **variables: str) -> tuple[int | None, str]:
        """Run one action of the command and return (exit status, standard error)."""
        argv = (*self.enter, *before, *COMMAND, action)
        status, _, stderr = run_any(argv, env={**self.environment, **variables}, cwd=self.bin_dir)
        return status, stderr

    def run(self, *argv: str, stdin: str = "") -> str:
        """Run a program that must succeed, and return its output."""
        status, stdout, stderr = run_any((*self.enter, *argv), stdin=stdin, env=self.environment)
        assert status == 0, stderr
        return stdout

    def rules(self, family: str = "iptables") -> list[str]:
        """Return the tables as ``iptables-save`` prints them, without comments."""
        listing = "".join(self.run(f"{family}-save", "-t", table) for table in TABLES)
        return [line for line in listing.splitlines() if not line.startswith("#")]


@pytest.fixture(params=["nft", "legacy"])
def pod(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pod]:
    """A new namespace for each variant, with rules of others in its ``nat`` tables."""
    for program in PROGRAMS:
        real = shutil.which(program.replace("tables", f"tables-{request.param}"))
        if real is None:
            pytest.skip(f"iptables has no {request.param} variant here")
        (tmp_path / program).symlink_to(real)
    with subprocess.Popen(HOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"made\n"
        made = Pod(holder.pid, request.param, tmp_path)
        status, _, stderr = run_any(
            (*made.enter, "iptables", "-t", "nat", "-S"), env=made.environment
        )
        if status != 0:  # some kernels lack the legacy tables
            pytest.skip(f"no nat table of the {request.param} variant here: {stderr}")
        for family in ("iptables", "ip6tables"):
            made.run(family, "-t", "mangle", "-A", "INPUT", "-p", "udp", "-j", "ACCEPT")
            made.run(family, "-t", "nat", "-A", "OUTPUT", "-p", "udp", "-j", "ACCEPT")
            made.run(family, "-t", "nat", "-N", "OTHERS")
        yield made


def test_apply_programs_both_families_once(pod: Pod) -> None:
    """Catches: a successful run omits a family or doubles a jump."""
    assert pod.reference("apply") == (0, "")

    for family in ("iptables", "ip6tables"):
        rules = pod.rules(family)
        assert rules.count("-A PREROUTING -p tcp -j FSMREDIR_IN") == 1
        assert rules.count("-A OUTPUT -p tcp -j FSMREDIR_OUT") == 1


def test_ipv4_pod_leaves_ip6tables_alone(pod: Pod) -> None:
    """Catches: an IPv4 pod is refused where the kernel lacks IPv6."""
    before = pod.rules("ip6tables")

    assert pod.reference("apply", POD_IPS="10.77.0.2") == (0, "")
    assert pod.rules("ip6tables") == before


def test_second_run_changes_nothing(pod: Pod) -> None:
    """Catches: jumps or rules accumulate, also after others have added rules."""
    pod.reference("apply", FSM_OUTBOUND_PORT_EXCLUSION_LIST="6379")
    pod.run("iptables", "-t", "nat", "-A", "OUTPUT", "-p", "tcp", "-j", "OTHERS")
    before = pod.rules(), pod.rules("ip6tables")

    assert pod.reference("apply", FSM_OUTBOUND_PORT_EXCLUSION_LIST="6379") == (0, "")
    assert (pod.rules(), pod.rules("ip6tables")) == before


def test_second_run_with_fewer_exclusions_drops_the_others(pod: Pod) -> None:
    """Catches: an exclusion stays after it is removed from its list."""
    pod.reference("apply")
    wanted = pod.rules()
    pod.reference("remove")
    pod.reference("apply", FSM_OUTBOUND_PORT_EXCLUSION_LIST=",".join(map(str, range(1, 101))))
    assert pod.rules() != wanted

    assert pod.reference("apply") == (0, "")
    assert sorted(pod.rules()) == sorted(wanted)


def test_run_completes_the_remains_of_another(pod: Pod) -> None:
    """Catches: chains without jumps count as a programmed pod."""
    pod.reference("apply")
    wanted = sorted(pod.rules())
    pod.run("iptables", "-t", "nat", "-D", "OUTPUT", "-p", "tcp", "-j", "FSMREDIR_OUT")
    pod.run("iptables", "-t", "nat", "-F", "FSMREDIR_IN")

    assert pod.reference("apply") == (0, "")
    assert sorted(pod.rules()) == wanted


def test_run_completes_an_interrupted_restore(pod: Pod) -> None:
    """Catches: chains without redirection make every later run fail."""
    pod.reference("apply")
    wanted = sorted(pod.rules())
    pod.run("iptables-restore", "--noflush", stdin=WITHOUT_REDIRECTION)

    assert pod.reference("apply") == (0, "")
    assert sorted(pod.rules()) == wanted


def test_refused_second_run_leaves_both_tables_as_they_were(pod: Pod) -> None:
    """Catches: one table has the new configuration and the other has the old one."""
    pod.reference("apply", FSM_INBOUND_PORT_EXCLUSION_LIST="80")
    before = pod.rules()
    real = (pod.bin_dir / "iptables-restore").resolve()
    (pod.bin_dir / "iptables-restore").unlink()
    (pod.bin_dir / "iptables-restore").write_text(BROKEN_BEHIND_MANGLE.format(real=real))
    (pod.bin_dir / "iptables-restore").chmod(0o755)

    status, stderr = pod.reference("apply", FSM_INBOUND_PORT_EXCLUSION_LIST="443")

    assert status == 1, stderr
    assert sorted(pod.rules()) == sorted(before)


def test_remove_restores_what_was_there(pod: Pod) -> None:
    """Catches: the clean-up leaves our rules, or removes rules of others."""
    before = pod.rules(), pod.rules("ip6tables")
    pod.reference("apply", FSM_OUTBOUND_IP_RANGE_EXCLUSION_LIST="2.2.2.2/24,fd00::/8,0.0.0.0/0")
    assert (pod.rules(), pod.rules("ip6tables")) != before

    assert pod.reference("remove") == (0, "")
    assert (pod.rules(), pod.rules("ip6tables")) == before


def test_remove_without_anything_to_remove_succeeds(pod: Pod) -> None:
    """Catches: the clean-up cannot be repeated."""
    before = pod.rules()

    assert pod.reference("remove", POD_IPS="") == (0, "")
    assert pod.rules() == before


def test_malformed_value_is_refused_before_any_rule(pod: Pod) -> None:
    """Catches: half of a configuration is applied."""
    before = pod.rules()

    status, stderr = pod.reference("apply", FSM_INBOUND_PORT_EXCLUSION_LIST="80,70000")

    assert status == 1
    assert stderr.startswith("refused: FSM_INBOUND_PORT_EXCLUSION_LIST: '70000' is not a port")
    assert pod.rules() == before


def test_without_net_admin_it_is_refused(pod: Pod) -> None:
    """Catches: a pod starts without rules because its init container lacks a capability."""
    lacking = ("setpriv", "--inh-caps=-net_admin", "--bounding-set=-net_admin")

    status, stderr = pod.reference("apply", *lacking)

    assert status == 1
    assert "ermission denied" in stderr


@pytest.mark.parametrize("earlier", ["", "6379"], ids=["fresh", "programmed"])
def test_failing_second_family_leaves_the_first_as_it_was(pod: Pod, earlier: str) -> None:
    """Catches: after a refused run, a pod has new IPv4 rules and old IPv6 rules."""
    if earlier:
        pod.reference("apply", FSM_OUTBOUND_PORT_EXCLUSION_LIST=earlier)
    before = pod.rules()
    broken = pod.bin_dir / "ip6tables-restore"
    broken.unlink()
    broken.write_text("#!/bin/sh\necho no such table >&2\nexit 3\n")
    broken.chmod(0o755)

    status, stderr = pod.reference("apply")

    assert (status, stderr) == (1, "refused: ip6tables-restore exited 3: no such table\n")
    assert pod.rules() == before


def test_programs_of_the_other_variant_are_refused(pod: Pod) -> None:
    """Catches: the rules are set in the tables of the other variant."""
    other = {"nft": "legacy", "legacy": "nft"}[pod.environment["FSM_IPTABLES"]]

    status, stderr = pod.reference("apply", FSM_IPTABLES=other)

    assert status == 1
    assert stderr.startswith(f"refused: FSM_IPTABLES is {other}, but iptables-restore on PATH is")
