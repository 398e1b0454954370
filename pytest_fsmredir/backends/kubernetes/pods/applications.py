"""Containers that run a small test application instead of an agent, or in addition to one."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache

from pytest_fsmredir import layout
from pytest_fsmredir.backends.kubernetes.cluster.certificates import certificate_for
from pytest_fsmredir.backends.kubernetes.cluster.client import Object
from pytest_fsmredir.backends.workloads import Probe, ProbeBy
from pytest_fsmredir.model.flow import Address

FIRST, PROBED = "first", "probed"
HEALTH_PATH = "/healthz?whole=yes"
PROBED_PORT = 8081
TRIES = 100_000
"""failureThreshold of probes, more than a run has seconds, so the kubelet restarts nothing."""


def first_flow_container(image: str, to: Address, timeout_s: float) -> Object:
    """Return a container whose program dials first of all."""
    return _python(image, FIRST, "first_flow.py", [to.host, str(to.port), str(timeout_s)])


def probed_container(image: str, probes: Collection[Probe], by: ProbeBy, *, alive: bool) -> Object:
    """Return a container with probes; its application answers them if it is alive."""
    made = (
        _python(image, PROBED, "probed.py", [str(PROBED_PORT)])
        if alive
        else {**_python(image, PROBED, "", []), "command": ["sleep", "infinity"]}
    )
    made["ports"] = [{"name": "web", "containerPort": PROBED_PORT}]
    if by is ProbeBy.HTTPS and alive:
        made["command"] = [*_CERTIFIED, *made["command"], "/tmp/own.pem"]  # noqa: S108 - in a pod
        made["env"] = [{"name": "OWN_PEM", "value": _certificate()}]
    handler = _handler(by)
    for probe in probes:
        made[probe.value] = {
            **handler,
            "periodSeconds": 1,
            "timeoutSeconds": 5,
            "failureThreshold": TRIES,
        }
    return made


_CERTIFIED = ["/bin/sh", "-c", 'printf %s "$OWN_PEM" >/tmp/own.pem; exec "$@"', "sh"]


@cache
def _certificate() -> str:
    """Return a certificate and its key. The kubelet does not verify certificates of probes."""
    made = certificate_for("probed.fsmredir.example")
    return (made.key + made.chain).decode()


def _handler(by: ProbeBy) -> Object:
    if by is ProbeBy.TCP:
        return {"tcpSocket": {"port": "web"}}
    return {"httpGet": {"port": "web", "path": HEALTH_PATH, "scheme": by.value.upper()}}


def _python(image: str, name: str, file: str, arguments: list[str]) -> Object:
    source = (layout.fixtures() / "applications" / file).read_text() if file else ""
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-I", "-S", "-c", source, *arguments],
        "securityContext": {"runAsUser": 1000},
    }
