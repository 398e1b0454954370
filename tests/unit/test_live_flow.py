"""What a running pod shows of one flow, judged without a cluster."""

from __future__ import annotations

import os

import pytest

from pytest_fsmredir.__main__ import main
from pytest_fsmredir.agent.commands import Commands
from pytest_fsmredir.agent.forms import Report, bytes_of, sighting_of
from pytest_fsmredir.agent.pod import NumberedEngine
from pytest_fsmredir.backends.observing import Observed
from pytest_fsmredir.cli.observed_flow import judged_by
from pytest_fsmredir.errors import BackendError
from pytest_fsmredir.model.flow import Acceptance, Acceptor, Address, Direction, Flow, Route
from pytest_fsmredir.traffic.witness import Sighting

POD, THERE = Address("10.244.0.5", 40000), Address("10.1.2.3", 443)
SIDECAR = Address("127.0.0.1", 15001)
FLOW = Flow(Direction.OUTBOUND, THERE, uid=1000)
CAPTURED = Sighting((Acceptance(0, Acceptor.SIDECAR_OUTBOUND, SIDECAR, POD, THERE),))
UP = Report(POD, connected=True)
REFUSED = Report(POD, "refused")


@pytest.mark.parametrize(
    ("seen", "route", "seen_as"),
    [
        (Observed(UP, CAPTURED, (SIDECAR,)), Route.SIDECAR_OUTBOUND, "the sidecar's outbound"),
        (Observed(UP, Sighting(), (THERE,)), Route.DIRECT, "accepted by the destination itself"),
        (Observed(UP, Sighting(), None), Route.DIRECT, "accepted by the destination itself"),
        (Observed(REFUSED, Sighting(), (THERE,)), Route.DIRECT, "refused; its packets went there"),
    ],
)
def test_flow_on_its_expected_route(seen: Observed, route: Route, seen_as: str) -> None:
    """Catches: a direct flow fails because its destination refuses it, or has no agent."""
    judged = judged_by(seen, FLOW, route)

    assert judged.holds
    assert seen_as in judged.seen


@pytest.mark.parametrize(
    ("seen", "route", "seen_as"),
    [
        (Observed(UP, CAPTURED, (SIDECAR,)), Route.DIRECT, "the sidecar's outbound listener"),
        (Observed(UP, Sighting(), (THERE,)), Route.SIDECAR_OUTBOUND, "the destination itself"),
        (Observed(REFUSED, Sighting(), (THERE,)), Route.SIDECAR_OUTBOUND, "went there unchanged"),
        (Observed(REFUSED, Sighting(), (SIDECAR,)), Route.DIRECT, "went to 127.0.0.1:15001"),
        (Observed(REFUSED, Sighting(), (SIDECAR,)), Route.SIDECAR_OUTBOUND, "127.0.0.1:15001"),
        (Observed(UP, Sighting(), (SIDECAR,)), Route.DIRECT, "went to 127.0.0.1:15001"),
        (Observed(Report(None, "unreachable"), Sighting(), ()), Route.DIRECT, "no packet was sent"),
    ],
)
def test_flow_on_another_route(seen: Observed, route: Route, seen_as: str) -> None:
    """Catches: a flow that a rule took or dropped counts as one that left the pod."""
    judged = judged_by(seen, FLOW, route)

    assert not judged.holds
    assert seen_as in judged.seen


def test_failed_flow_is_not_judged_without_its_packets() -> None:
    """Catches: a destination that refuses a flow counts as a dead sidecar, or the reverse."""
    with pytest.raises(BackendError, match="refused; whether the sidecar or the destination"):
        judged_by(Observed(REFUSED, Sighting(), None), FLOW, Route.DIRECT)


def test_agent_sees_where_the_first_packet_goes() -> None:
    """Catches: a filter of the kernel that drops the packets it must keep."""
    agent = Commands(NumberedEngine(), timeout_s=2.0)
    for host in ("127.0.0.1", "::1"):
        report, seen, went = agent.observe([host, 9], ["10.0.0.1"], 0.1)

        assert Report.of(report).lost == "refused"
        assert not sighting_of(seen).accepted
        assert went in (None, [[host, 9]])  # None without CAP_NET_RAW
    agent.engine.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="captures packets: needs root")
def test_agent_keeps_the_packets_of_some_hosts() -> None:
    """Catches: evidence on a node that shows the packets of everybody."""
    agent = Commands(NumberedEngine(), timeout_s=2.0)
    found = []
    for hosts in (["127.0.0.1"], ["192.0.2.1"]):
        agent.capture()
        agent.observe(["127.0.0.1", 9], ["10.0.0.1"], 0.1)
        found.append(len(bytes_of(agent.captured(hosts))))
    agent.engine.close()

    header = 24
    assert found[0] > header
    assert found[1] == header


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["demo/web-1", "--in", "80"], "--in takes a client outside"),
        (["demo/web-1", "--out", "10.1.2.3:443", "--uid", "-1"], "there is no such user"),
        (["web.yaml", "--in", "80", "--context", "it"], "--context has no effect with a FILE"),
        (["demo/web.yaml", "--in", "80"], "No such file"),
        (["demo/web-1", "--out", "10.1.2.3:443"], "--pod-image IMAGE"),
    ],
)
def test_words_that_name_no_flow(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches: a file that is missing counts as a pod, or an option without effect is ignored."""
    assert main(["flow", *words]) == 2
    assert message in capsys.readouterr().err
