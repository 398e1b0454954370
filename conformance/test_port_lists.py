"""Lists of ports, however long."""

from __future__ import annotations

from pytest_fsmredir import MUST, Feature, Mesh, Profile, check

OUTBOUND_PORTS = "flomesh.io/outbound-port-exclusion-list"
INBOUND_PORTS = "flomesh.io/inbound-port-exclusion-list"
LENGTHS = (31, 300)  # 15 ports are all that one match of iptables holds
# Lists are cut at such places, or dealt out in portions of such sizes.
EDGES = frozenset(n + by for n in (0, 15, 16, 32, 64, 100, 128, 200, 256) for by in (0, 1))
MORE_LENGTHS = (1, 15, 16, 17, 30, 31, 45, 100, 300)


def _ports(length: int) -> list[int]:
    """Return ports in threes of neighbours, each with a fourth that is one port further on."""
    first = 20000 + 20 * length
    return [first + 11 * (place // 4) + (0, 1, 2, 4)[place % 4] for place in range(length)]


def _beside(ports: list[int]) -> list[int]:
    """Return the ports that are not listed but have a neighbour at either end or in the middle."""
    middle = len(ports) // 2
    near = ports[:4] + ports[middle : middle + 4] + ports[-4:]
    return sorted({port + step for port in near for step in (-1, 1)} - set(ports))


def _telling(ports: list[int]) -> list[int]:
    """Return the ports of a list that show where it was cut; of a short list all."""
    if len(ports) <= 64:
        return ports
    return [port for n, port in enumerate(ports) if n in EDGES or n == len(ports) - 1]


@check(
    "OPX-005",
    requirement="Every port of an outbound port exclusion list MUST be direct however long the list"
    " is, neighbours included, and no port between them.",
    spec="SPEC-13.7",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_PORT_EXCLUSION},
)
def test_outbound_port_lists_of_any_length_hold(mesh: Mesh) -> None:
    for length in MORE_LENGTHS if mesh.exhaustive else LENGTHS:
        ports = _ports(length)
        pod = mesh.pod(annotations={OUTBOUND_PORTS: ",".join(map(str, ports))})

        for fate in pod.connect_all(mesh.server, _beside(ports)):
            assert fate.captured_outbound
        for fate in pod.connect_all(mesh.server, _telling(ports)):
            assert fate.refused or fate.direct
        for port in {ports[0], ports[length // 2], ports[-1]}:
            assert pod.connect(mesh.server, port).direct


@check(
    "IPX-005",
    requirement="Every port of an inbound port exclusion list MUST be direct however long the list"
    " is, neighbours included, and no port between them.",
    spec="SPEC-13.7",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.INBOUND_PORT_EXCLUSION},
)
def test_inbound_port_lists_of_any_length_hold(mesh: Mesh) -> None:
    for length in MORE_LENGTHS if mesh.exhaustive else LENGTHS:
        ports = _ports(length)
        pod = mesh.pod(annotations={INBOUND_PORTS: ",".join(map(str, ports))})

        for fate in mesh.client.connect_all(pod, _beside(ports)):
            assert fate.captured_inbound
        for fate in mesh.client.connect_all(pod, _telling(ports)):
            assert fate.refused or fate.direct
        for port in {ports[0], ports[length // 2], ports[-1]}:
            assert mesh.client.connect(pod, port).direct
