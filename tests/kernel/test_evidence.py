"""The evidence of a failure, taken in pods, and its stand-alone script."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import yaml

from pytest_fsmredir.backends.base import Pod
from pytest_fsmredir.backends.netns.backend import NetnsBackend
from pytest_fsmredir.backends.netns.mesh import NetnsMesh
from pytest_fsmredir.config.settings import Settings
from pytest_fsmredir.implementations.base import Completed, IptablesVariant, Target
from pytest_fsmredir.model.features import Feature
from pytest_fsmredir.model.flow import Address, Claim
from pytest_fsmredir.model.outcomes import Outcome, Row, Variant
from pytest_fsmredir.suite import catalogue
from pytest_fsmredir.suite.evidence import ALIKE, Evidence
from pytest_fsmredir.suite.explaining import explained
from pytest_fsmredir.traffic.socket_options import marked
from tests.mutants.collected import by_name
from tests.mutants.mutant import MutantImplementation

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root"),
]

OUT = "flomesh.io/outbound-port-exclusion-list"
IN = "flomesh.io/inbound-port-exclusion-list"
MENDED = {"--sports": "--dports", "--sport": "--dport"}


@pytest.fixture(scope="module")
def backend() -> Iterator[NetnsBackend]:
    """A backend whose implementation compares the source port with both lists."""
    implementation = MutantImplementation(by_name("outbound-ports-by-source"))
    with closing(NetnsBackend(implementation, families=(4, 6), timeout_s=5.0)) as made:
        yield made


@dataclass
class Failure:
    """A failed flow, with its open mesh."""

    mesh: NetnsMesh
    claim: Claim
    row: Row

    def leave(self, evidence: Evidence) -> Path | None:
        """Explain the failure, and write its evidence."""
        check = catalogue.load()["OPX-001"]
        found = explained(check, self.claim, self.mesh)
        assert found is not None
        row = Row(
            check=check.id, variant=self.row.variant, outcome=Outcome.FAIL, why=found.why,
            path=found.path, flow=self.claim.flow,
        )  # fmt: skip
        return evidence.take(check, row, self.claim, self.mesh, found)


def evidence_in(directory: Path) -> Evidence:
    return Evidence(cast("Settings", SimpleNamespace(report=directory, evidence="on-failure")))


def failure(backend: NetnsBackend, iptables: str, family: int, way: str, mutant: str) -> Failure:
    """Send a flow that a mutant treats wrongly."""
    backend.judge_next(MutantImplementation(by_name(mutant)))
    variant = IptablesVariant(iptables)
    mesh = backend.mesh(family, variant, exhaustive=False)
    pod = mesh.pod(annotations={OUT: "6379", IN: "7070"})
    fate = pod.connect(mesh.server, 6379) if way == "outbound" else mesh.client.connect(pod, 7070)
    assert not fate.direct.holds
    row = Row(check="OPX-001", variant=Variant("netns", iptables, family), outcome=Outcome.FAIL)
    return Failure(mesh, fate.direct, row)


@pytest.mark.parametrize(
    ("iptables", "family", "way"),
    [
        ("nft", 4, "outbound"),
        ("legacy", 6, "inbound"),
        *(
            pytest.param(*point, marks=pytest.mark.slow)
            for point in product(("nft", "legacy"), (4, 6), ("outbound", "inbound"))
            if point not in {("nft", 4, "outbound"), ("legacy", 6, "inbound")}
        ),
    ],
)
def test_the_script_shows_the_bug_until_it_is_mended(
    backend: NetnsBackend, tmp_path: Path, iptables: str, family: int, way: str
) -> None:
    """Catches: a script that needs our package, or that is red or green whatever the rules are."""
    failed = failure(backend, iptables, family, way, f"{way}-ports-by-source")
    with closing(failed.mesh):
        directory = failed.leave(evidence_in(tmp_path))
    assert directory is not None
    script = directory / "repro.sh"
    text = script.read_text()
    assert len(text.splitlines()) < 80
    assert "pytest_fsmredir" not in text
    assert _status(script) == 1
    for wrong, right in MENDED.items():
        text = text.replace(f"{wrong} ", f"{right} ")
    script.write_text(text)
    assert _status(script) == 0


@dataclass
class Loads:
    """An implementation that loads the same rules into every pod."""

    command: tuple[str, ...]
    rules: str
    name: str = "loads"
    features: frozenset[Feature] = frozenset()

    def program(self, target: Target) -> None:
        """Load the rules."""
        done = target.run(self.command, stdin=self.rules)
        assert done.status == 0, done.stderr


NATIVE = """\
table inet mesh {
  chain out {
    type nat hook output priority -100; policy accept;
    meta l4proto tcp tcp dport 9000-9020 redirect to :15001
  }
}
"""
SPARED = """\
*nat
-A OUTPUT -p tcp -m mark --mark 0x80000055 -m tcp --sport 20000 -j RETURN
-A OUTPUT -p tcp -j REDIRECT --to-ports 15001
COMMIT
"""


@pytest.mark.parametrize(
    ("iptables", "command", "rules", "mend"),
    [
        ("native", ("nft", "-f", "-"), NATIVE, ("9000-9020", "9000-9010")),
        ("nft", ("iptables-restore", "--noflush"), SPARED, ("--sport 20000", "--sport 20001")),
    ],
    ids=["native rules", "mark and source port"],
)
def test_the_script_has_native_rules_marks_and_source_ports(
    backend: NetnsBackend, tmp_path: Path, iptables: str, command: tuple[str, ...], rules: str,
    mend: tuple[str, str],
) -> None:  # fmt: skip
    """Catches: a script without a part of the flow or of the rules, which is never red."""
    backend.judge_next(Loads(command, rules))
    with closing(backend.mesh(4, IptablesVariant(iptables), exhaustive=False)) as mesh:
        pod = mesh.pod()
        source = Address(pod.address, 20000)
        fate = pod.connect(mesh.server, 9015, source=source, prepare=marked(0x80000055))
        claim = fate.direct if iptables == "native" else fate.captured_outbound
        assert not claim.holds
        row = Row(check="OPX-001", variant=Variant("netns", iptables, 4), outcome=Outcome.FAIL)
        directory = Failure(mesh, claim, row).leave(evidence_in(tmp_path))
    assert directory is not None
    script = directory / "repro.sh"
    assert _status(script) == 1
    script.write_text(script.read_text().replace(*mend))
    assert _status(script) == 0
    ports = _ports((directory / "packets-in-pod.pcap").read_bytes())
    assert 20000 in ports  # of an answer: the flow was sent again from the same port


TPROXY = """\
*mangle
-A PREROUTING -p tcp -m tcp --dport 8080 -j RETURN
-A PREROUTING ! -i lo -p tcp -j TPROXY --on-port 15003 --tproxy-mark 1339
COMMIT
"""
ROUTED = (
    "ip -4 route add local default dev lo table 133; ip -4 rule add fwmark 1339 lookup 133;"
    " exec iptables-restore --noflush"
)


def test_the_script_has_the_routes_and_the_listener_of_tproxy(
    backend: NetnsBackend, tmp_path: Path
) -> None:
    """Catches: a script that stays red, because it lacks what TPROXY needs."""
    backend.judge_next(Loads(("/bin/sh", "-c", ROUTED), TPROXY))
    with closing(backend.mesh(4, IptablesVariant.NFT, exhaustive=False)) as mesh:
        claim = mesh.client.connect(mesh.pod(), 8080).captured_inbound
        assert not claim.holds
        row = Row(check="IN-001", variant=Variant("netns", "nft", 4), outcome=Outcome.FAIL)
        directory = Failure(mesh, claim, row).leave(evidence_in(tmp_path))
    assert directory is not None
    script = directory / "repro.sh"
    assert _status(script) == 1
    script.write_text(script.read_text().replace("--dport 8080", "--dport 8081"))
    assert _status(script) == 0


def test_the_script_of_many_rules_leaves_out_those_that_the_flow_does_not_match(
    backend: NetnsBackend, tmp_path: Path
) -> None:
    """Catches: a script of a hundred lines, or one without the rule that decides."""
    idle = "".join(f"-A OUTPUT -d 192.0.2.{number} -j RETURN\n" for number in range(90))
    backend.judge_next(
        Loads(("iptables-restore", "--noflush"), SPARED.replace("*nat\n", f"*nat\n{idle}"))
    )
    with closing(backend.mesh(4, IptablesVariant.NFT, exhaustive=False)) as mesh:
        pod = mesh.pod()
        source = Address(pod.address, 20000)
        fate = pod.connect(mesh.server, 9015, source=source, prepare=marked(0x80000055))
        row = Row(check="OUT-001", variant=Variant("netns", "nft", 4), outcome=Outcome.FAIL)
        directory = Failure(mesh, fate.captured_outbound, row).leave(evidence_in(tmp_path))
    assert directory is not None
    script = directory / "repro.sh"
    text = script.read_text()
    assert len(text.splitlines()) < 80
    assert "rules that this flow does not match are left out" in text
    assert _status(script) == 1
    script.write_text(text.replace("--sport 20000", "--sport 20001"))
    assert _status(script) == 0


def _status(script: Path) -> int:
    done = subprocess.run(["/bin/sh", script], capture_output=True, text=True, timeout=60)
    assert not done.stderr
    return done.returncode


def test_the_directory_holds_rules_counters_packets_and_tables(
    backend: NetnsBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches: empty files, packets of no flow, or a token of the user in the environment."""
    monkeypatch.setenv("CLOUD_TOKEN", "hush")
    failed = failure(backend, "nft", 4, "outbound", "outbound-ports-by-source")
    with closing(failed.mesh):
        directory = failed.leave(evidence_in(tmp_path))
    assert directory == tmp_path / "evidence" / "OPX-001-netns-nft-v4"
    told = yaml.safe_load((directory / "README.yaml").read_text())
    assert told["annotations"] == {OUT: "6379", IN: "7070"}
    assert set(told["files"]) == {file.name for file in directory.iterdir()} - {"README.yaml"}
    assert "notTaken" not in told
    assert "+1 " in (directory / "counted.txt").read_text()
    assert "REDIRECT --to-ports 15001" in (directory / "walk.txt").read_text()
    assert "198.51.100.10" in (directory / "tables.txt").read_text()
    assert "nft ip nat MESH_OUT #" in (directory / "trace.txt").read_text()
    ran = (directory / "implementation.txt").read_text()
    assert "CLOUD_TOKEN  # the value is left out" in (directory / "environment.txt").read_text()
    assert not [each for each in directory.iterdir() if b"hush" in each.read_bytes()]
    assert "# exit status: 0\n# stdin\n*nat" in ran
    if tcpdump := shutil.which("tcpdump"):
        for file in directory.glob("*.pcap"):
            subprocess.run([tcpdump, "-nr", file], check=True, capture_output=True, timeout=60)
    # The redirect has already changed the destination of the packets on lo.
    assert 15001 in _ports((directory / "packets-in-pod.pcap").read_bytes())


def _ports(raw: bytes) -> set[int]:
    """Return the destination ports in a pcap file of IPv4 packets without options."""
    magic, *_, link_type = struct.unpack("<IHHiIII", raw[:24])
    assert (magic, link_type) == (0xA1B23C4D, 101)
    found, at = set(), 24
    while at < len(raw):
        length = struct.unpack("<I", raw[at + 8 : at + 12])[0]
        found.add(int.from_bytes(raw[at + 16 + 22 : at + 16 + 24], "big"))
        at += 16 + length
    return found


def test_a_directory_that_a_killed_process_began_is_removed(
    backend: NetnsBackend, tmp_path: Path
) -> None:
    """Catches: half a directory that looks like a whole one, or that stays."""
    with subprocess.Popen(["/bin/true"]) as ended:
        pass
    partial = tmp_path / "evidence" / f".OPX-001-netns-nft-v4.{ended.pid}"
    partial.mkdir(parents=True)
    (partial / "README.yaml").touch()
    failed = failure(backend, "nft", 4, "outbound", "outbound-ports-by-source")
    with closing(failed.mesh):
        directory = failed.leave(evidence_in(tmp_path))
    assert [*(tmp_path / "evidence").iterdir()] == [directory]


def test_failures_with_one_explanation_leave_few_directories(
    backend: NetnsBackend, tmp_path: Path
) -> None:
    """Catches: a disk that one bug fills, because hundreds of checks find it."""
    evidence = evidence_in(tmp_path)
    failed = failure(backend, "nft", 4, "outbound", "outbound-ports-by-source")
    with closing(failed.mesh):
        written = [failed.leave(evidence) for _ in range(ALIKE + 2)]
    assert written[ALIKE:] == [None, None]
    assert all(written[:ALIKE])


def test_checks_that_pass_in_one_pod_list_its_rules_once(
    backend: NetnsBackend, tmp_path: Path
) -> None:
    """Catches: a run with all evidence that takes many times as long as one without."""
    evidence = evidence_in(tmp_path)
    checks = catalogue.load()
    with closing(backend.mesh(4, IptablesVariant.NFT, exhaustive=False)) as mesh:
        mesh.pod()
        for id in ("OUT-001", "OUT-002"):
            row = Row(check=id, variant=Variant("netns", "nft", 4), outcome=Outcome.PASS)
            evidence.take(checks[id], row, None, mesh, None)
    first, second = (
        (tmp_path / "evidence" / f"{id}-netns-nft-v4" / "rules.txt").read_text()
        for id in ("OUT-001", "OUT-002")
    )
    assert "REDIRECT --to-ports 15001" in first
    assert second == "# the rules of the same pod are in ../OUT-001-netns-nft-v4\n"


def test_rules_that_cannot_be_read_blame_no_rule(
    backend: NetnsBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches: without the program that lists the rules, ``why`` says that a rule is missing."""
    failed = failure(backend, "nft", 4, "outbound", "outbound-ports-by-source")
    run = failed.mesh.inspect

    def without_iptables(pod: Pod, argv: Sequence[str]) -> Completed:
        return run(
            pod, [word.replace("-save", "-gone").replace("nft -j", "no-nft") for word in argv]
        )

    monkeypatch.setattr(failed.mesh, "inspect", without_iptables)
    with closing(failed.mesh):
        found = explained(catalogue.load()["OPX-001"], failed.claim, failed.mesh)

    assert found is not None
    assert found.why.startswith("the rules could not be read: the rules of iptables for IPv4")
    assert (found.path, found.places) == ("", ())
