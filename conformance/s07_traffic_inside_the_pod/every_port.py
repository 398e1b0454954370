"""Traffic inside the pod, port by port."""

from __future__ import annotations

from pytest_fsmredir import Case, Feature, Mesh, Profile, Section, local_sweep

section = Section(7, Profile.CORE)


@section.check_each(
    Case(
        "LO-016", "7.1", "localhost is direct on every port", families=(4,), host="127.0.0.1",
        to="127.0.0.1 MUST",
    ),
    Case(
        "LO-017", "7.2", "ipv6 localhost is direct on every port", profile=Profile.IPV6,
        features={Feature.IPV6}, families=(6,), host="::1", to="::1 SHOULD",
    ),
    Case(
        "LO-019", "7.3", "own address is direct on every port", host=None,
        to="its pod's own address SHOULD",
    ),
)  # fmt: skip
def test_every_local_port_is_direct(mesh: Mesh, *, host: str | None) -> None:
    """The application's connection to {to} be direct on every port."""
    pod = mesh.pod()

    assert pod.connect(mesh.server, 8080).captured_outbound
    for fate in local_sweep(mesh, pod, host or pod.address, uid=1000):
        assert fate.direct
