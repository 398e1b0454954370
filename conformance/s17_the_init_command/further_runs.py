"""Further runs of the init command on the same pod."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import repeat

from pytest_fsmredir import (
    Acceptor,
    Address,
    Direction,
    Fate,
    Feature,
    Mesh,
    Need,
    Pod,
    Profile,
    Programmer,
    Sabotage,
    Section,
    Taps,
)
from pytest_fsmredir.model.vocabulary import (
    EXCLUDED_INBOUND_PORTS,
    EXCLUDED_OUTBOUND_PORTS,
    EXCLUDED_RANGES,
    INCLUDED_RANGES,
    PORT_EXCLUSIONS,
)

section = Section(17, Profile.LIFECYCLE, {Feature.OUTBOUND_PORT_EXCLUSION})

# What a list names from run to run: neither of two items, one, the other or both. The whole walk
# takes each step from one of these to another; samples of it are walked by two lists at once.
WHOLE = ("", "X", "", "Y", "", "XY", "X", "Y", "X", "XY", "Y", "XY", "")
# In one step of each sample, neither list changes its length, or its first item.
SAMPLE = {
    4: (("X", "Y", "X", ""), ("", "X", "Y", "Y")),
    6: (("", "X", "XY", "Y"), ("XY", "X", "XY", "")),
}
PORTS = {"X": 6379, "Y": 7070}
OF_IPV6 = Address("2001:db8:5::10", 8080)


def _walks(mesh: Mesh) -> Iterator[tuple[str, str]]:
    """Yield what two lists name from run to run."""
    if mesh.exhaustive:
        yield from zip(WHOLE, repeat(""))
        yield from zip(repeat(""), WHOLE)
        yield from zip(WHOLE, (*WHOLE[7:], *WHOLE[1:8]), strict=True)
    else:
        yield from zip(*SAMPLE[mesh.family], strict=True)


def _lists(**named: Iterable[object]) -> dict[str, str]:
    """Return the annotations of some lists, those without items left out."""
    keys = {"outbound": EXCLUDED_OUTBOUND_PORTS, "inbound": EXCLUDED_INBOUND_PORTS}
    keys |= {"excluded": EXCLUDED_RANGES, "included": INCLUDED_RANGES}
    lists = {keys[name]: ",".join(map(str, items)) for name, items in named.items()}
    return {key: items for key, items in lists.items() if items}


def _assert_exempt(fate: Fate, *, exempt: bool) -> None:
    if exempt:
        assert fate.direct
    elif fate.flow.direction is Direction.INBOUND:
        assert fate.captured_inbound
    else:
        assert fate.captured_outbound


def _routes(mesh: Mesh, pod: Pod) -> dict[str, tuple[Acceptor, ...]]:
    """Who accepts each kind of flow, hop by hop."""
    flows = {
        "outbound": pod.connect(mesh.server, 8080),
        "outbound from the sidecar": pod.connect(mesh.server, 8080, uid=1500),
        "inbound": mesh.client.connect(pod, 8080),
        "inbound to a reserved port": mesh.client.connect(pod, 15904),
        "to the pod itself": pod.connect(pod, 8080),
        "to the pod itself from the sidecar": pod.connect(pod, 8080, uid=1500),
        "over loopback": pod.connect(mesh.loopback(), 8080),
    }
    return {what: tuple(hop.by for hop in fate.path) for what, fate in flows.items()}


@section.check("INIT-002", "17.2", features=())
def test_second_run_changes_nothing(mesh: Mesh, programmer: Programmer) -> None:
    """A second run with the same configuration SHOULD succeed and leave every flow the way it went
    after the first."""
    pod = mesh.pod(fresh=True)

    once = _routes(mesh, pod)
    for _ in range(2 if mesh.exhaustive else 1):
        programmer.program(pod)
        again = _routes(mesh, pod)
        changed = [what for what in once if again[what] != once[what]]
        assert not changed, f"after another run these flows arrive elsewhere: {', '.join(changed)}"
    assert pod.connect(mesh.server, 8080).captured_outbound
    assert mesh.client.connect(pod, 8080).captured_inbound


@section.check("INIT-003", "17.3", features=PORT_EXCLUSIONS)
def test_second_run_replaces_the_port_lists(mesh: Mesh, programmer: Programmer) -> None:
    """A further run that exits 0 MUST put its port lists in place of those of the run before,
    whichever items come, stay or go."""
    pod = mesh.bare_pod()

    for outbound, inbound in _walks(mesh):
        lists = _lists(
            outbound=[PORTS[name] for name in outbound], inbound=[PORTS[name] for name in inbound]
        )
        if programmer.try_program(pod, annotations=lists).accepted:
            assert pod.connect(mesh.server, 8080).captured_outbound
            assert mesh.client.connect(pod, 8080).captured_inbound
            for name, port in PORTS.items():
                _assert_exempt(pod.connect(mesh.server, port), exempt=name in outbound)
                _assert_exempt(mesh.client.connect(pod, port), exempt=name in inbound)


@section.check("INIT-012", "17.10")
def test_refused_configuration_leaves_the_pod_as_it_was(mesh: Mesh, programmer: Programmer) -> None:
    """A run that refuses its configuration SHOULD leave the pod as it was."""
    pod = mesh.bare_pod()
    unusable = {EXCLUDED_OUTBOUND_PORTS: "6379,70000"}

    assert programmer.try_program(pod, annotations=unusable).refused
    assert pod.connect(mesh.server, 8080).direct
    assert mesh.client.connect(pod, 8080).direct
    programmer.program(pod, annotations={EXCLUDED_OUTBOUND_PORTS: "7070"})
    assert programmer.try_program(pod, annotations=unusable).refused
    assert pod.connect(mesh.server, 6379).captured_outbound
    assert pod.connect(mesh.server, 7070).direct
    assert mesh.client.connect(pod, 8080).captured_inbound


@section.check(
    "INIT-013",
    "17.3",
    features={Feature.OUTBOUND_IP_RANGE_EXCLUSION, Feature.OUTBOUND_IP_RANGE_INCLUSION},
    needs={Need.REMOTE_ADDRESSES},
)
def test_second_run_replaces_the_ip_range_lists(mesh: Mesh, programmer: Programmer) -> None:
    """A further run that exits 0 MUST put its range lists in place of those of the run before,
    whichever items come, stay or go."""
    pod, elsewhere = mesh.bare_pod(), str(mesh.subnet(5)[10])
    outside = {"X": mesh.subnet(1), "Y": mesh.subnet(2)}
    inside = {"X": mesh.subnet(3), "Y": mesh.subnet(4)}

    for excluded, included in _walks(mesh):
        wanted = [inside[name] for name in included]
        lists = _lists(
            excluded=[outside[name] for name in excluded],
            included=[*wanted, *outside.values()] if wanted else [],
        )
        if programmer.try_program(pod, annotations=lists).accepted:
            _assert_exempt(pod.connect(elsewhere, 8080), exempt=bool(wanted))
            for name in "XY":
                fate = pod.connect(str(inside[name][10]), 8080)
                _assert_exempt(fate, exempt=bool(wanted) and name not in included)
                if not (wanted and name in excluded):  # which of the two wins is for PREC-001
                    fate = pod.connect(str(outside[name][10]), 8080)
                    _assert_exempt(fate, exempt=name in excluded)


@section.check("INIT-019", "17.15", families=(4,))
def test_nothing_leaks_while_a_second_run_is_at_work(
    mesh: Mesh, sabotage: Sabotage, taps: Taps
) -> None:
    """While a further run is at work, a connection that is due for capture before and after it
    SHOULD NOT be direct."""
    pod = mesh.pod(annotations={EXCLUDED_OUTBOUND_PORTS: "6379"}, fresh=True)
    captured = pod.connect(OF_IPV6.host, OF_IPV6.port, answer=False).captured_outbound

    assert pod.connect(mesh.server, 6379).direct
    with (
        taps.of(pod) as tap,
        sabotage.in_steps(pod, annotations={EXCLUDED_OUTBOUND_PORTS: "7070"}) as run,
    ):
        for _ in run:
            with pod.open(mesh.server, 8080) as leaving, mesh.client.open(pod, 8080) as entering:
                assert leaving.fate_by_banner.never_direct
                assert entering.fate_by_banner.never_direct
            if captured:
                pod.connect(OF_IPV6.host, OF_IPV6.port, answer=False)
                left = [packet.destination for packet in tap.packets() if packet.opens]
                assert OF_IPV6 not in left, f"a SYN to {OF_IPV6} left the pod"
    if run.programming.accepted:
        assert pod.connect(mesh.server, 7070).direct
        assert pod.connect(mesh.server, 6379).captured_outbound
