"""Traffic inside the pod, port by port."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice

from pytest_fsmredir import MUST, SHOULD, Fate, Feature, Mesh, Pod, Profile, check

SIDECARS_PORTS = {15000, 15001, 15003, 15010, 15901, 15902, 15903, 15904}
NEAR_POWERS = {(1 << power) - near for power in range(16) for near in (0, 1)} - {0}
# The range from which Linux chooses source ports, node ports of Kubernetes, and what listens on
# localhost in many pods: databases, agents and debuggers.
EDGES = {28232, 30000, 32000, 49151, 49152, 60998, 60999, 61000, 61001, 65000, 65534, 65535}
USED = {22, 53, 80, 443, 1500, 3306, 5005, 5432, 6379, 8080, 8125, 8126, 9090, 9229, 15002, 40000}
AT_ONCE = 1024  # ports that the pod listens on at a time


def local_sweep(mesh: Mesh, pod: Pod, host: str, uid: int) -> Iterator[Fate]:
    """Yield the fates of connections to ports of the pod's own, on each of which it listens."""
    sample = NEAR_POWERS | EDGES | USED
    ports: Iterable[int] = range(1, 65536) if mesh.exhaustive else sorted(sample)
    tried = (port for port in ports if port not in SIDECARS_PORTS)
    while batch := list(islice(tried, AT_ONCE)):
        with ExitStack() as held:
            for port in batch:
                held.enter_context(pod.listening(port))
            yield from pod.connect_all(host, batch, uid=uid)


@check(
    "LO-016",
    requirement="The application's connection to 127.0.0.1 MUST be direct on every port.",
    spec="SPEC-7.1",
    level=MUST,
    profile=Profile.CORE,
    families=(4,),
)
def test_localhost_is_direct_on_every_port(mesh: Mesh) -> None:
    pod = mesh.pod()

    assert pod.connect(mesh.server, 8080).captured_outbound
    for fate in local_sweep(mesh, pod, "127.0.0.1", uid=1000):
        assert fate.direct


@check(
    "LO-017",
    requirement="The application's connection to ::1 SHOULD be direct on every port.",
    spec="SPEC-7.2",
    level=SHOULD,
    profile=Profile.IPV6,
    features={Feature.IPV6},
    families=(6,),
)
def test_ipv6_localhost_is_direct_on_every_port(mesh: Mesh) -> None:
    pod = mesh.pod()

    assert pod.connect(mesh.server, 8080).captured_outbound
    for fate in local_sweep(mesh, pod, "::1", uid=1000):
        assert fate.direct


@check(
    "LO-018",
    requirement="The sidecar's connection to 127.0.0.1 MUST be direct on every port.",
    spec="SPEC-6.1",
    level=MUST,
    profile=Profile.CORE,
)
def test_sidecar_reaches_every_local_port_directly(mesh: Mesh) -> None:
    pod = mesh.pod()

    assert pod.connect(mesh.server, 8080).captured_outbound
    for fate in local_sweep(mesh, pod, mesh.loopback(), uid=1500):
        assert fate.direct


@check(
    "LO-019",
    requirement="The application's connection to its pod's own address SHOULD be direct on every"
    " port.",
    spec="SPEC-7.3",
    level=SHOULD,
    profile=Profile.CORE,
)
def test_own_address_is_direct_on_every_port(mesh: Mesh) -> None:
    pod = mesh.pod()

    assert pod.connect(mesh.server, 8080).captured_outbound
    for fate in local_sweep(mesh, pod, pod.address, uid=1000):
        assert fate.direct
