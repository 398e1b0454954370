"""Foreign rules in the pod, and traffic that the pod only forwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pytest_fsmredir import (
    Fate,
    Feature,
    ForeignPrograms,
    Mesh,
    NestedContainers,
    Pod,
    Profile,
    Programmer,
    Section,
    add_foreign_rules,
    range_of,
)
from pytest_fsmredir.model.vocabulary import (
    EXCLUDED_INBOUND_PORTS,
    EXCLUDED_OUTBOUND_PORTS,
    EXCLUDED_RANGES,
    PORT_EXCLUSIONS,
)

section = Section(18, Profile.LIFECYCLE)

# One effect in each table, all on traffic that the redirection leaves alone or does not rewrite.
FOREIGN = """\
*raw
-A OUTPUT -p udp --dport 5306 -j DROP
COMMIT
*nat
:FOREIGN - [0:0]
-A OUTPUT -p udp --dport 5301 -j FOREIGN
-A PREROUTING -p udp --dport 5301 -j FOREIGN
-A FOREIGN -p udp -j REDIRECT --to-ports 5302
COMMIT
*mangle
-A OUTPUT -p udp --dport 5303 -j MARK --set-mark 0x5303
COMMIT
*filter
-A OUTPUT -m mark --mark 0x5303 -j REJECT
-A OUTPUT -p tcp --dport 5304 -m owner --uid-owner 1500 -j REJECT --reject-with tcp-reset
-A INPUT -p tcp --syn -s {denied} -j REJECT --reject-with tcp-reset
COMMIT
"""
FOREIGN_AFTERWARDS = """\
*nat
-A OUTPUT -p tcp --dport 6379 -j REDIRECT --to-ports 5305
-A PREROUTING -p tcp --dport 6379 -j REDIRECT --to-ports 5305
COMMIT
"""


def _arrived_at(fate: Fate) -> int | None:
    """Return the port at which a flow was accepted."""
    return fate.accepted.local.port if fate.path else None


def _foreign_effects(mesh: Mesh, pod: Pod) -> dict[str, object]:
    """Return whether the foreign rules have their effect, true or false, by where they stand."""
    for here, there in ((pod, mesh.loopback()), (mesh.client, pod)):
        here.datagram(there, 5302)  # has the pod listen there
    return {
        "nat OUTPUT": _arrived_at(pod.datagram(mesh.server, 5301)) == 5302,
        "nat PREROUTING": _arrived_at(mesh.client.datagram(pod, 5301)) == 5302,
        "mangle and filter OUTPUT": pod.datagram(mesh.server, 5303).unanswered,
        "raw OUTPUT": pod.datagram(mesh.server, 5306).unanswered,
        "filter OUTPUT": pod.connect(mesh.server, 5304, uid=1500).unanswered,
        "filter INPUT": mesh.server.connect(pod, 8080).unanswered,
    }


def _assert_none_is_lost(before: Iterable[str], after: Mapping[str, object]) -> None:
    """Each foreign rule that had an effect before has it afterwards."""
    lost = [where for where in before if not after[where]]
    assert not lost, f"the foreign rules in {', '.join(lost)} no longer have an effect"


@section.check("COEX-001", "18.1")
def test_foreign_rules_from_before_survive(
    mesh: Mesh, programmer: Programmer, programs: ForeignPrograms
) -> None:
    """Rules that were in the pod before it is programmed MUST keep their effect."""
    pod = mesh.bare_pod()
    add_foreign_rules(programs, pod, mesh.family, FOREIGN.format(denied=mesh.server.address))

    programmed = programmer.try_program(pod).accepted
    effects = _foreign_effects(mesh, pod)
    _assert_none_is_lost(effects, effects)
    if programmed:
        assert pod.connect(mesh.server, 8080).captured_outbound
        assert pod.connect(mesh.server, 8080, uid=1500).direct
        assert mesh.client.connect(pod, 8080).captured_inbound


@section.check("COEX-002", "18.2", features=PORT_EXCLUSIONS)
def test_excluded_traffic_meets_later_rules(
    mesh: Mesh, programmer: Programmer, programs: ForeignPrograms
) -> None:
    """Excluded traffic SHOULD still meet the foreign rules that come after those of the
    redirection."""
    pod = mesh.bare_pod()
    lists = {EXCLUDED_OUTBOUND_PORTS: "6379", EXCLUDED_INBOUND_PORTS: "6379"}
    programmer.program(pod, annotations=lists)
    add_foreign_rules(programs, pod, mesh.family, FOREIGN_AFTERWARDS)
    pod.listen(5305)

    assert pod.connect(mesh.server, 8080).captured_outbound
    assert mesh.client.connect(pod, 8080).captured_inbound
    assert pod.connect(mesh.server, 6379).accepted_at(5305)
    assert mesh.client.connect(pod, 6379).accepted_at(5305)


@section.check("COEX-005", "18.1", families=(4,))
def test_foreign_rules_survive_another_run(
    mesh: Mesh, programmer: Programmer, programs: ForeignPrograms
) -> None:
    """Rules that came into the pod after it was programmed MUST keep their effect when it is
    programmed again."""
    pod = mesh.pod(fresh=True)
    add_foreign_rules(programs, pod, mesh.family, FOREIGN.format(denied=mesh.server.address))
    # A rule has none where one that accepts comes before it.
    before = [where for where, seen in _foreign_effects(mesh, pod).items() if seen]

    assert before, "no foreign rule has an effect in the programmed pod"
    programmer.try_program(pod)
    _assert_none_is_lost(before, _foreign_effects(mesh, pod))
    assert pod.connect(mesh.server, 8080).captured_outbound
    assert mesh.client.connect(pod, 8080).captured_inbound


@section.check("COEX-006", "18.3", families=(4,))
def test_forwarded_traffic_is_direct(mesh: Mesh, containers: NestedContainers) -> None:
    """TCP that the pod only forwards, for a container nested in it, may be captured."""
    pod = mesh.pod(fresh=True)

    assert pod.connect(mesh.server, 8080).captured_outbound
    assert containers.inside(pod).connect(mesh.server, 8080).direct


@section.check("COEX-007", "18.2", features={Feature.OUTBOUND_IP_RANGE_EXCLUSION})
def test_traffic_to_excluded_ranges_meets_later_rules(
    mesh: Mesh, programmer: Programmer, programs: ForeignPrograms
) -> None:
    """Traffic to an excluded range SHOULD still meet the foreign rules that come after those of
    the redirection."""
    pod = mesh.bare_pod()
    programmer.program(pod, annotations={EXCLUDED_RANGES: range_of(mesh.server)})
    add_foreign_rules(programs, pod, mesh.family, FOREIGN_AFTERWARDS)
    pod.listen(5305)

    assert pod.connect(mesh.client, 8080).captured_outbound
    assert pod.connect(mesh.server, 8080).direct
    assert pod.connect(mesh.server, 6379).accepted_at(5305)


@section.check("COEX-008", "18.4", families=(4,))
def test_forwarded_traffic_is_not_lost(mesh: Mesh, containers: NestedContainers) -> None:
    """What the pod only forwards, for a container nested in it, SHOULD reach its destination
    unless it is TCP that is captured."""
    pod = mesh.pod(fresh=True)
    nested = containers.inside(pod)

    assert pod.connect(mesh.server, 8080).captured_outbound
    assert nested.datagram(mesh.server, 8080).direct
    assert nested.ping(mesh.server).direct
    fate = nested.connect(mesh.server, 8080)
    assert fate.answered
