"""Runs of the init command that are disturbed."""

from __future__ import annotations

from pytest_fsmredir import Acceptor, Mesh, Pod, Profile, Programmer, Sabotage, Section

section = Section(17, Profile.LIFECYCLE)


def _assert_complete(mesh: Mesh, pod: Pod) -> None:
    assert pod.connect(mesh.server, 8080).captured_outbound
    assert pod.connect(mesh.server, 8080, uid=1500).direct
    assert mesh.client.connect(pod, 8080).captured_inbound
    assert mesh.client.connect(pod, 15904).reached(Acceptor.HEALTH)


def _untouched(mesh: Mesh, pod: Pod) -> bool:
    outbound, inbound = pod.connect(mesh.server, 8080), mesh.client.connect(pod, 8080)
    return bool(outbound.direct and inbound.direct)


def _telling_starts(mesh: Mesh, sabotage: Sabotage) -> list[int]:
    """Return at which of the programs that a run starts to disturb it: early, half-way and late."""
    started = sabotage.programs_started()
    every = range(1, started + 1)
    return list(every) if mesh.exhaustive else sorted({2, started // 2 + 1, started} & {*every})


@section.check("INIT-005", "17.5")
def test_run_after_a_killed_one_is_complete(
    mesh: Mesh, programmer: Programmer, sabotage: Sabotage
) -> None:
    """A run that exits 0 after another was killed half-way MUST leave behind the complete
    redirection."""
    _assert_complete(mesh, mesh.pod())
    for start in _telling_starts(mesh, sabotage):
        pod = mesh.bare_pod()
        sabotage.program(pod, at=start, kills=True)
        if programmer.try_program(pod).accepted:
            _assert_complete(mesh, pod)


@section.check("INIT-007", "17.7", families=(4,))
def test_held_lock_costs_no_rules(mesh: Mesh, programmer: Programmer, sabotage: Sabotage) -> None:
    """An init command that finds the xtables lock held SHOULD wait for it or fail."""
    pod = mesh.bare_pod()

    with sabotage.holding_xtables_lock(pod):
        programming = programmer.try_program(pod)
    if programming.accepted:
        _assert_complete(mesh, pod)
    _assert_complete(mesh, mesh.pod())


@section.check("INIT-011", "17.10")
def test_killed_run_leaves_all_or_nothing(mesh: Mesh, sabotage: Sabotage) -> None:
    """A run that is killed SHOULD leave behind either its complete redirection or what was there
    before it."""
    _assert_complete(mesh, mesh.pod())
    for start in _telling_starts(mesh, sabotage):
        pod = mesh.bare_pod()
        sabotage.program(pod, at=start, kills=True)
        if not _untouched(mesh, pod):
            _assert_complete(mesh, pod)


@section.check("INIT-014", "17.4", families=(4,))
def test_table_that_takes_no_rules_is_refused(mesh: Mesh, sabotage: Sabotage) -> None:
    """An init command whose programs can set no rule MUST exit non-zero."""
    pod = mesh.bare_pod()

    programming = sabotage.program(pod, at=None)
    if programming.accepted:
        _assert_complete(mesh, pod)
    _assert_complete(mesh, mesh.pod())


@section.check("INIT-015", "17.11")
def test_failing_program_is_not_hidden(mesh: Mesh, sabotage: Sabotage) -> None:
    """An init command one of whose programs fails SHOULD exit non-zero unless the redirection is
    complete."""
    _assert_complete(mesh, mesh.pod())
    for start in _telling_starts(mesh, sabotage):
        pod = mesh.bare_pod()
        if sabotage.program(pod, at=start).accepted:
            _assert_complete(mesh, pod)
