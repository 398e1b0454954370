"""Compare the model of rules with the kernel: it predicts the fate of each flow."""

from __future__ import annotations

import os
import random
import shutil
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from ipaddress import ip_address

import pytest

from pytest_fsmredir.backends.facets import ForeignPrograms
from pytest_fsmredir.backends.netns.backend import NetnsBackend
from pytest_fsmredir.backends.netns.mesh import NetnsMesh
from pytest_fsmredir.backends.netns.pods import NetnsPod
from pytest_fsmredir.implementations.base import Implementation, IptablesVariant
from pytest_fsmredir.implementations.init_command import InitCommand
from pytest_fsmredir.implementations.reference.programming import Reference
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.features import ALL_FEATURES
from pytest_fsmredir.model.flow import Direction, Fate
from pytest_fsmredir.rules import live, show
from pytest_fsmredir.rules.ends import EndKind
from pytest_fsmredir.rules.packet import Packet
from pytest_fsmredir.rules.passage import Model
from pytest_fsmredir.rules.pod import Surroundings
from pytest_fsmredir.rules.prove import Prover
from pytest_fsmredir.rules.space import Space
from pytest_fsmredir.rules.trace import follow
from tests.neutral.judged import command

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root"),
]

LISTS = Configuration(
    {
        "flomesh.io/outbound-port-exclusion-list": "6379,7070",
        "flomesh.io/inbound-port-exclusion-list": "22,8443",
        "flomesh.io/outbound-ip-range-exclusion-list": "10.0.0.0/8,2001:db8:1::/48",
    },
    {"outboundIPRangeInclusionList": ["10.1.0.0/16", "100.0.0.0/7", "2001:db8::/33"]},
)
FAULTS = r"""
set -e
for t in iptables ip6tables; do
  case $POD_IPS in *:*) ;; *) [ $t = iptables ] || continue ;; esac
  $t -t nat -N TO_IN; $t -t nat -A TO_IN -p tcp -j REDIRECT --to-ports 15003
  $t -t nat -A PREROUTING -p tcp -m tcp --dport 100:200 -j ACCEPT
  $t -t nat -A PREROUTING -p tcp -m multiport --sports 5000:6000 -j RETURN
  $t -t nat -A PREROUTING -p tcp -m multiport ! --dports 15010,15901:15904 -j TO_IN
  $t -t nat -N A; $t -t nat -N B; $t -t nat -N C
  $t -t nat -A C -p tcp -m tcp --dport 1:1000 -j RETURN
  $t -t nat -A OUTPUT -p tcp -g A
  $t -t nat -A OUTPUT -p tcp -j REDIRECT --to-ports 15001
  $t -t nat -A A -m owner --gid-owner 65532 -j RETURN
  $t -t nat -A A -m owner ! --uid-owner 1000-1600 -m mark --mark 0x10/0x30 -j RETURN
  $t -t nat -A A -p tcp -m tcp ! --sport 32768:60999 -j RETURN
  $t -t nat -A A -p tcp -m tos --tos 0x10/0xfc -j ACCEPT
  $t -t nat -A A -p tcp -m tcp --tcp-flags ALL SYN -j B
  $t -t nat -A A -o lo -j RETURN
  $t -t nat -A A -p tcp -j REDIRECT --to-ports 15003
  $t -t nat -A B -m owner --uid-owner 1500 -j RETURN
  $t -t nat -A B -m addrtype --dst-type LOCAL -j RETURN
  $t -t nat -A B -p tcp -m mark ! --mark 0x7 -m tcp --dport 300:400 -j RETURN
  $t -t nat -A B -p tcp -m mark --mark 0x40/0x40 -j REDIRECT --to-ports 15001
  $t -t nat -A B -p tcp -m mark --mark 0x7 -g C
  $t -t mangle -A OUTPUT -p tcp -m tcp --dport 250:260 -j MARK --set-xmark 0x40/0xff
  $t -t mangle -A OUTPUT -p tcp -m tcp --dport 255 -j MARK --or-mark 0x100
  $t -t filter -A OUTPUT -p tcp -m tcp --dport 77 -j REJECT
  $t -t filter -A INPUT -p tcp -m tcp --dport 15003 -m mark --mark 0x7 -j REJECT
done
"""
OF_FSM = Configuration(  # FSM supports no IPv6 ranges
    {"flomesh.io/outbound-port-exclusion-list": "6379,7070"},
    {"outboundIPRangeInclusionList": ["10.1.0.0/16", "100.0.0.0/7"]},
)
NEUTRAL = ("fsm_current.sh", "per_port.sh", "reordered", "marks", "tproxy", "sets", "nftables")
PROGRAMS = {"sets": "ipset", "nftables": "nft"}
PORTS = (22, 80, 443, 6379, 6380, 7070, 77, 100, 150, 201, 255, 260, 300, 8080, 8443, 15010)
UIDS = (0, 1000, 1499, 1500, 1501, 1600, 1601, 65534)
FLOWS = 60


def implementation(name: str) -> Implementation:
    if name == "reference":
        return Reference()
    if name == "faults":
        return InitCommand(FAULTS, features=ALL_FEATURES)
    return InitCommand(command(name), features=ALL_FEATURES)


@pytest.fixture(params=["nft", "legacy"])
def variant(request: pytest.FixtureRequest) -> IptablesVariant:
    """Both variants of iptables."""
    return IptablesVariant(request.param)


@pytest.fixture(params=["reference", "faults", *NEUTRAL])
def backend(request: pytest.FixtureRequest) -> Iterator[NetnsBackend]:
    """A backend for each implementation."""
    program = PROGRAMS.get(request.param)
    if program and shutil.which(program, path="/usr/sbin:/sbin:/usr/bin:/bin") is None:
        pytest.skip(f"{program} is not installed")
    with closing(
        NetnsBackend(implementation(request.param), families=(4, 6), timeout_s=5.0)
    ) as made:
        yield made


@pytest.fixture(params=[4, 6])
def family(request: pytest.FixtureRequest) -> int:
    """Both IP versions."""
    number: int = request.param
    return number


@dataclass(frozen=True)
class Stand:
    """A programmed pod, and the model of its rules."""

    mesh: NetnsMesh
    pod: NetnsPod
    model: Model
    family: int

    def own(self) -> list[str]:
        return [a for a in self.pod.addresses if ip_address(a).version == self.family]


def stand(mesh: NetnsMesh, configuration: Configuration, family: int) -> Stand:
    pod = mesh.pod(
        annotations=configuration.annotations, mesh_config=configuration.traffic, fresh=True
    )
    done = mesh.facet(ForeignPrograms).run(pod, live.command())
    assert done.status == 0, done.stderr
    rules = live.read(done.stdout)
    around = Surroundings({"eth0": pod.addresses}, closed=True)
    space = Space(family, around.interfaces(rules), around.local(family))
    return Stand(mesh, pod, Model(rules, space, around), family)


def destinations(at: Stand) -> list[str]:
    if at.family == 4:
        remote = [
            "198.51.100.10",
            "10.0.0.1",
            "10.1.2.3",
            "9.255.255.255",
            "100.1.1.1",
            "102.0.0.1",
        ]
    else:
        remote = ["2001:db8:5::10", "2001:db8:1::7", "2001:db8:8000::1", "2001:db8:ffff::1"]
    return [*remote, *at.own(), at.mesh.loopback()]


def prepared(mark: int, tos: int, family: int) -> object:
    def prepare(sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        if family == 4:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, tos)

    return prepare


def sent_out(at: Stand, chance: random.Random) -> tuple[Packet, Fate]:
    to = chance.choice(destinations(at))
    port = chance.choice([*PORTS, chance.randrange(1, 65536)])
    uid, gid = chance.choice(UIDS), chance.choice([0, 0, 65532])
    mark, tos = chance.choice([0, 0, 7, 0x10, 0x40, 0x30]), chance.choice([0, 0, 0x10, 0x14])
    fate = at.pod.connect(to, port, uid=uid, gid=gid, prepare=prepared(mark, tos, at.family))  # type: ignore[arg-type]
    local = to in at.own() or ip_address(to).is_loopback
    source, source_port = fate.client or (at.own()[0], 40000)
    packet = Packet(
        direction=Direction.OUTBOUND, family=at.family, source=int(ip_address(source)),
        destination=int(ip_address(to)), source_port=source_port, port=port,
        interface="lo" if local else "eth0", uid=uid, gid=gid, mark=mark, tos=tos,
    )  # fmt: skip
    return packet, fate


def sent_in(at: Stand, chance: random.Random) -> tuple[Packet, Fate]:
    to = chance.choice(at.own())
    port = chance.choice([*PORTS, chance.randrange(1, 65536)])
    fate = (
        at.mesh.client.connect(at.pod, port)
        if to == at.own()[0]
        else at.mesh.client.connect(to, port)
    )
    source, source_port = fate.client or (at.mesh.client.address, 40000)
    packet = Packet(
        direction=Direction.INBOUND, family=at.family, source=int(ip_address(source)),
        destination=int(ip_address(to)), source_port=source_port, port=port,
    )  # fmt: skip
    return packet, fate


def met(fate: Fate) -> EndKind | None:
    """Return the end that a flow met; None if it was refused or lost for another reason."""
    if fate.captured_outbound:
        return EndKind.CAPTURED_OUTBOUND
    if fate.captured_inbound:
        return EndKind.CAPTURED_INBOUND
    if fate.path and fate.path[0].destination == fate.flow.destination:
        return EndKind.DIRECT
    return None


@pytest.mark.parametrize("lists", [False, True], ids=["plain", "lists"])
def test_flows_meet_the_prediction_of_the_model(
    backend: NetnsBackend, variant: IptablesVariant, family: int, *, lists: bool,
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    """Catches: the model differs from the kernel, and proves what no packet does."""
    mesh = backend.mesh(family, variant, exhaustive=False)
    chance = random.Random(f"{variant} {family} {lists}")  # noqa: S311 - a seeded draw
    wanted = OF_FSM if "fsm_current.sh" in request.node.name else LISTS
    try:
        at = stand(mesh, wanted if lists else Configuration(), family)
        for _ in range(FLOWS):
            for send in (sent_out, sent_in):
                packet, fate = send(at, chance)
                path = follow(at.model, packet)
                seen, said = met(fate), path.end.kind
                refused = {EndKind.DROPPED, EndKind.REFUSED, EndKind.ELSEWHERE, EndKind.LOST}
                agrees = seen is said or (seen is None and said in refused)
                assert agrees, f"{packet}: {fate.seen}\n" + "\n".join(show.path_lines(path))
    finally:
        mesh.close()


@pytest.mark.parametrize("lists", [False, True], ids=["plain", "lists"])
def test_correct_implementation_is_proved(
    backend: NetnsBackend, variant: IptablesVariant, family: int, *, lists: bool,
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    """Catches: the model finds a fault in a correct implementation."""
    if {"faults", "fsm_current.sh"} & set(request.node.callspec.params.values()):
        pytest.skip("it is not correct, or not for both families")
    mesh = backend.mesh(family, variant, exhaustive=False)
    configuration = LISTS if lists else Configuration()
    try:
        at = stand(mesh, configuration, family)
        prover = Prover(at.model.rules, configuration.policy(), family, at.model.surroundings)
        for direction in Direction:
            proof = prover.prove(direction)
            shown = [
                line for f in (*proof.findings, *proof.doubts) for line in show.finding_lines(1, f)
            ]
            assert (shown, at.model.rules.remarks) == ([], [])
    finally:
        mesh.close()
