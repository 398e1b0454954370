"""Judge a running pod: find its settings, send flows and print the result, without a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pytest_fsmredir.__main__ import main
from pytest_fsmredir.backends.kubernetes.cluster.client import ApiError, Cluster
from pytest_fsmredir.cli.pod.aiming import Aim, aim
from pytest_fsmredir.cli.pod.finding import Found, find, parse_name
from pytest_fsmredir.cli.pod.hosts import KubeHosts
from pytest_fsmredir.cli.pod.table import conclusion, left_out, table, undialled
from pytest_fsmredir.errors import AnnotationError, PreflightError, SettingsError
from pytest_fsmredir.model.flow import (
    Acceptance,
    Acceptor,
    Address,
    Claim,
    Direction,
    Fate,
    Flow,
    Protocol,
    Route,
)
from pytest_fsmredir.probing.aim import ProbeFlow
from pytest_fsmredir.probing.judge import claim

PORTS = "flomesh.io/outbound-port-exclusion-list"
RANGES = "flomesh.io/outbound-ip-range-exclusion-list"
SERVER, POD, CLIENT = "10.1.0.9", "10.1.0.5", "10.1.0.8"


def pod(*containers: str, **annotations: str) -> dict[str, Any]:
    """Return a running pod. Name an annotation by its last part, with underscores."""
    named = {f"flomesh.io/{key.replace('_', '-')}": text for key, text in annotations.items()}
    ports = [{"containerPort": 6379}]
    return {
        "metadata": {"namespace": "demo", "name": "web-1", "annotations": named},
        "spec": {
            "nodeName": "worker-1",
            "hostNetwork": "host" in containers,
            "initContainers": [{"name": each} for each in containers if each == "fsm-init"],
            "containers": [
                {"name": "app", "ports": ports},
                *({"name": each} for each in containers if each == "sidecar"),
            ],
        },
        "status": {"phase": "Running", "podIPs": [{"ip": POD}]},
    }


def injected(**annotations: str) -> Found:
    return Found(pod("fsm-init", "sidecar", **annotations), None)


@pytest.mark.parametrize("text", ["web-1", "demo/", "/web-1", "demo/web/1", "Demo/web", "a/b?c=d"])
def test_invalid_pod_name_is_refused(text: str) -> None:
    """Catches: an API path that an argument controls."""
    with pytest.raises(SettingsError, match="give NAMESPACE/NAME"):
        parse_name(text)
    assert parse_name("demo/web-1") == ("demo", "web-1")


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (injected(), ""),
        (Found(pod("sidecar"), None), ""),
        (Found(pod("sidecar", "host"), None), "it is on the network of its node"),
        (Found(pod(), None), "no annotation flomesh.io/sidecar-injection"),
        (Found(pod(sidecar_injection="disabled"), None), "flomesh.io/sidecar-injection: disabled"),
        (Found(pod(sidecar_injection="enabled"), None), "flomesh.io/sidecar-injection: enabled"),
    ],
)
def test_pod_without_redirection_has_a_reason(found: Found, why: str) -> None:
    """Catches: a pod blamed for a capture that it never requested."""
    assert bool(found.not_in_mesh) is bool(why)
    assert why in found.not_in_mesh
    assert ("no traffic may be redirected" in found.headline) is bool(why)


IN_MESH = {"flomesh.io/monitored-by": "fsm"}
ASKS = {"flomesh.io/sidecar-injection": "enabled"}


def namespace(labels: dict[str, str], annotations: dict[str, str]) -> dict[str, Any]:
    return {"metadata": {"name": "demo", "labels": labels, "annotations": annotations}}


@pytest.mark.parametrize(
    ("pod_without_sidecar", "its_namespace", "missed"),
    [
        (pod(), namespace(IN_MESH, ASKS), "'fsm', and its namespace's annotation"),
        (pod(sidecar_injection="yes"), namespace(IN_MESH, {}), "'fsm', and its own annotation"),
        (pod(sidecar_injection="disabled"), namespace(IN_MESH, ASKS), ""),
        (pod(), namespace(IN_MESH, {}), ""),
        (pod(), namespace({}, ASKS), ""),
        (pod(), namespace(IN_MESH | {"flomesh.io/ignore": ""}, ASKS), ""),
        (pod("host"), namespace(IN_MESH, ASKS), ""),
        (pod("sidecar"), namespace(IN_MESH, ASKS), ""),
    ],
)
def test_pod_that_the_injector_missed_must_be_captured(
    pod_without_sidecar: dict[str, Any], its_namespace: dict[str, Any], missed: str
) -> None:
    """Catches: a pod that leaks everything, reported as "not injected" with status 0."""
    found = Found(pod_without_sidecar, None, its_namespace)

    assert bool(found.missed) is bool(missed)
    assert missed in found.missed
    assert ("NOT injected, although" in found.headline) is bool(missed)
    assert not (found.missed and found.not_in_mesh)
    assert ("make the pod again" in found.advice) is bool(missed)


def test_change_of_the_mesh_config_after_the_pod_is_reported() -> None:
    """Catches: differences without their cause: the pod is older than the MeshConfig."""
    times = {"f:spec": "2026-03-01T10:00:00Z", "f:status": "2026-09-01T10:00:00Z"}
    managed = [{"time": time, "fieldsV1": {field: {}}} for field, time in times.items()]
    config = {"metadata": {"managedFields": managed}, "spec": {}}

    def advice(made: str) -> str:
        document = pod("sidecar")
        document["metadata"]["creationTimestamp"] = made
        return Found(document, config).advice

    assert advice("2026-03-02T00:00:00Z") == ""
    assert "changed at 2026-03-01T10:00:00Z, after the pod was made at 2026-02" in advice(
        "2026-02-01T00:00:00Z"
    )
    assert injected().advice == ""


def test_settings_are_those_of_the_pod_and_of_the_mesh() -> None:
    """Catches: a pod that is judged by half of its settings."""
    config = {"spec": {"traffic": {"outboundPortExclusionList": [80], "other": {}}}}
    found = Found(pod("sidecar", outbound_port_exclusion_list="6379, 7070"), config)

    assert found.configuration.policy().outbound_port_exclusion_list == (80, 6379, 7070)
    assert found.headline == (
        "pod demo/web-1 on worker-1: injected; outboundPortExclusionList 80,6379,7070"
    )
    assert injected().headline == (
        "pod demo/web-1 on worker-1: injected; no lists (there is no MeshConfig fsm-mesh-config)"
    )
    with pytest.raises(AnnotationError, match="'x' is not a port"):
        injected(outbound_port_exclusion_list="x").configuration.policy()


class Api:
    """A cluster that has some API objects, by their path."""

    def __init__(self, **objects: dict[str, Any]) -> None:
        self._objects = objects

    def get(self, path: str) -> dict[str, Any]:
        name = path.rpartition("/")[2]
        if name == "secret":
            raise ApiError(path, 403, "forbidden")
        if name not in self._objects:
            raise ApiError(path, 404, "not found")
        return self._objects[name]

    def log(self, namespace: str, pod: str, container: str) -> str:
        return f"too many ports specified in {container} of {namespace}/{pod}"


def test_pod_must_be_running() -> None:
    """Catches: an agent in a pod that has ended, or a missing permission read as a missing pod."""
    pending = pod() | {"status": {"phase": "Pending"}}
    ended = {"terminated": {"exitCode": 2}}
    died = {"phase": "Pending", "initContainerStatuses": [{"name": "fsm-init", "state": ended}]}
    missing = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    pulling = {"phase": "Pending", "containerStatuses": [{"name": "sidecar", "state": missing}]}
    api = cast("Cluster", Api(
        web=pod(), demo=namespace({}, {}), pending=pending, died=pod() | {"status": died},
        pulling=pod() | {"status": pulling},
    ))  # fmt: skip

    assert find(api, "demo", "web", "fsm-system").mesh_config is None
    with pytest.raises(PreflightError, match="there is no pod other in the namespace demo"):
        find(api, "demo", "other", "fsm-system")
    with pytest.raises(PreflightError, match="does not run: it is Pending"):
        find(api, "demo", "pending", "fsm-system")
    with pytest.raises(PreflightError, match="the init container exited 2: too many ports"):
        find(api, "demo", "died", "fsm-system")
    with pytest.raises(PreflightError, match="Pending: sidecar: ImagePullBackOff: no such image"):
        find(api, "demo", "pulling", "fsm-system")
    with pytest.raises(ApiError, match="forbidden"):
        find(api, "demo", "secret", "fsm-system")


def aimed(found: Found, *ranges: str) -> Aim:
    policy = found.configuration.policy()
    return aim(found, policy, server=SERVER, pod=POD, loopback="127.0.0.1", ranges=ranges)


def hosts(probes: list[ProbeFlow]) -> set[str]:
    return {probe.flow.destination.host for probe in probes}


def test_nothing_is_sent_out_of_the_cluster() -> None:
    """Catches: a connection from a production pod to an address outside the cluster."""
    found = injected(outbound_ip_range_exclusion_list="198.51.100.0/24")

    plan = aimed(found)
    assert hosts(plan.sent) == {SERVER, POD, "127.0.0.1", "127.0.0.2"}
    assert plan.undialled == (
        "198.51.100.0", "198.51.100.255", "198.51.99.255", "198.51.101.0", "8.8.8.8",
    )  # fmt: skip
    answered = aimed(found, "198.51.100.0/24")
    assert {"198.51.100.0", "198.51.100.255"} <= hosts(answered.sent)
    assert answered.undialled == ("198.51.99.255", "198.51.101.0", "8.8.8.8")


def test_same_pod_gets_the_same_flows() -> None:
    """Catches: a verdict that changes from run to run."""
    found = injected(outbound_port_exclusion_list="6379,7070")
    assert aimed(found).sent == aimed(found).sent
    assert 7070 in {probe.flow.destination.port for probe in aimed(found).sent}


def test_ports_of_the_application_are_not_source_ports() -> None:
    """Catches: a harness error, because the application uses the source port."""
    sources = {
        p.source_port for p in aimed(injected(outbound_port_exclusion_list="6379,7070")).sent
    }
    assert sources == {None, 7070}


def test_flow_without_information_is_left_out() -> None:
    """Catches: a sidecar blamed for closing connections to its own listener."""
    plan = aimed(injected())
    flows = [p.flow for p in plan.sent if p.flow.uid is None and p.flow.protocol is Protocol.TCP]
    ports = {flow.destination.port for flow in flows}
    assert {15000, 15001} <= ports
    assert 15003 not in ports


def test_no_listener_runs_on_the_network_of_a_node() -> None:
    """Catches: a listener of the harness on a node's network."""
    found = Found(pod("host"), None)
    assert {probe.flow.direction for probe in aimed(found).sent} == {Direction.OUTBOUND}
    assert hosts(aimed(found).sent) == {SERVER}


def fate(probe: ProbeFlow, *by: Acceptor, lost: str | None = None) -> Fate:
    own = Address(CLIENT, 40000)
    path = tuple(Acceptance(n, each, probe.flow.destination, own) for n, each in enumerate(by))
    return Fate(probe.flow, own, path, lost)


def outbound(port: int, uid: int = 1000) -> ProbeFlow:
    return ProbeFlow(Flow(Direction.OUTBOUND, Address(SERVER, port), uid=uid))


def judged(route: Route, probe: ProbeFlow, *by: Acceptor, lost: str | None = None) -> Claim:
    return claim(route, fate(probe, *by, lost=lost))


CAPTURED = Route.SIDECAR_OUTBOUND, Acceptor.SIDECAR_OUTBOUND


def test_flows_with_the_same_fate_share_a_line() -> None:
    """Catches: a table of three hundred lines of which one matters."""
    route, by = CAPTURED
    good = [outbound(port, uid) for uid in (1000, 0) for port in (8081, 8080)]
    rows = [(each, judged(route, each, by)) for each in good]
    bad = outbound(6379)
    rows.append((bad, judged(route, bad, Acceptor.ORIGIN)))
    rows.append((bad, judged(route, bad, lost="refused")))

    assert [[cell.strip() for cell in line.split("  ") if cell] for line in table(rows)] == [
        ["flow", "expected", "seen"],
        [f"uid 1000 or uid 0 to {SERVER} tcp port 8080,8081", "captured outbound", "the same"],
        [
            f"uid 1000 to {SERVER} tcp port 6379",
            "captured outbound",
            "accepted by the destination itself",
        ],
        [f"uid 1000 to {SERVER} tcp port 6379", "captured outbound", "refused"],
    ]
    assert conclusion(rows) == "2 of 6 flows differ"
    assert conclusion(rows[:1]) == "1 flow judged: as documented"


def test_untested_ranges_are_listed() -> None:
    """Catches: a range that was not tested, in a table that looks complete."""
    assert left_out("to x", [outbound(1), outbound(2)]) == "left out: 2 flows to x"
    assert undialled(("8.8.8.8", "8.8.4.4")).endswith("outside the cluster: 8.8.8.8, 8.8.4.4")


class Place:
    """A place that records what it must dial."""

    address = CLIENT

    def __init__(self) -> None:
        self.calls: list[tuple[str, object]] = []

    def connect_all(self, host: str, ports: list[int], *, uid: int | None) -> Iterator[Fate]:
        self.calls.append(("sweep", ports))
        flows = (Flow(Direction.OUTBOUND, Address(host, port), uid=uid) for port in ports)
        return (Fate(flow, None, (), "refused") for flow in flows)

    def connect(self, host: str, port: int, *, uid: int, source: Address, answer: bool) -> Fate:
        self.calls.append(("connect", source.port))
        return Fate(Flow(Direction.OUTBOUND, Address(host, port), uid=uid), None, (), "refused")

    def datagram(self, host: str, port: int, *, uid: int, payload: bytes) -> Fate:
        self.calls.append(("datagram", port))
        flow = Flow(Direction.OUTBOUND, Address(host, port), Protocol.UDP, uid=uid)
        return Fate(flow, None, (), "no answer")


def test_flows_are_sent_together_and_fates_keep_their_order() -> None:
    """Catches: a fate that is assigned to another flow."""
    place = Place()
    mesh = SimpleNamespace(client=Place())
    made = KubeHosts(cast("Any", mesh), cast("Any", place))
    udp = ProbeFlow(Flow(Direction.OUTBOUND, Address(SERVER, 53), Protocol.UDP, uid=1000))
    probes = [outbound(1), outbound(2, uid=0), udp, outbound(3), ProbeFlow(outbound(4).flow, 7070)]

    fates = list(made.send(probes))

    assert [each.flow for each in fates] == [probe.flow for probe in probes]
    assert place.calls == [("sweep", [1, 3]), ("sweep", [2]), ("datagram", 53), ("connect", 7070)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["web-1"], "'web-1' does not name a pod"),
        (["demo/web-1"], "--pod-image IMAGE"),
        (["demo/web-1", "--kind-cluster", "k", "--context", "c"], "not both"),
        ([], "required: NAMESPACE/NAME"),
    ],
)
def test_wrong_usage_has_its_own_exit_status(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches: a typo whose exit status blames the pod."""
    assert main(["pod", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_harness_error_has_its_own_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches: a traceback with the exit status of a pod that differs."""
    monkeypatch.setattr("pytest_fsmredir.cli.pod.command.parse_name", lambda _: 1 / 0)
    assert main(["pod", "demo/web-1", "--pod-image", "i"]) == 2
    assert "ZeroDivisionError" in capsys.readouterr().err
