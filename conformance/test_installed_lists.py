"""The lists that the mesh of a cluster is configured with, which a run sets aside otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pytest_fsmredir import MUST, Fate, Mesh, Need, Pod, Policy, Profile, Workloads, check, expected

# Ports of the sidecar and of probes: their fate does not depend on the lists.
RESERVED_PORTS = (15000, 15001, 15003, 15010, 15901, 15902, 15903, 15904)


def _ports(listed: Iterable[int]) -> list[int]:
    """Return an ordinary port, and each listed port with its neighbours."""
    near = (port + step for port in listed for step in (0, -1, 1))
    return [p for p in dict.fromkeys((8080, *near)) if 1 <= p <= 65535 and p not in RESERVED_PORTS]


def _fates(mesh: Mesh, pod: Pod, policy: Policy) -> Iterator[Fate]:
    """Send flows both ways, to ports that a list names and to ports that none names."""
    for place in (mesh.server, mesh.client, mesh.node):
        for port in _ports(policy.outbound_port_exclusion_list):
            yield pod.connect(place, port)
    for port in _ports(policy.inbound_port_exclusion_list):
        yield mesh.client.connect(pod, port)


@check(
    "KUBE-030",
    requirement="Under the lists that the mesh is configured with, TCP of a pod MUST be captured or"
    " direct as these say, and some of it captured.",
    spec="SPEC-20.10",
    level=MUST,
    profile=Profile.KUBERNETES,
    needs={Need.WEBHOOK},
    families=(4,),
)
def test_lists_of_the_installed_mesh_are_followed(mesh: Mesh, workloads: Workloads) -> None:
    installed = workloads.installed_lists()
    if not installed.is_valid:
        assert mesh.try_pod(mesh_config=installed.traffic).refused
        return
    policy, captured = installed.policy(), 0
    pod = mesh.pod(mesh_config=installed.traffic)

    for fate in _fates(mesh, pod, policy):
        route = expected(policy, fate.flow, pod.addresses)
        assert fate.takes(route)
        captured += bool(fate.captured_outbound or fate.captured_inbound)
    assert captured, f"nothing is captured under the lists of the mesh: {dict(installed.traffic)}"
