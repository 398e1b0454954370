"""Inject a sidecar and an init container into a Pod, in FSM's order and with FSM's fields.

Source: FSM pkg/injector (patch.go, init_container.go, health_probes.go, webhook.go) at main of
2026-02-06. Only the certificates and the fields for them are left out.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_fsmredir.implementations.environment import list_files, list_variables
from pytest_fsmredir.model.configuration import (
    IP_RANGE_LISTS,
    PORT_LISTS,
    Configuration,
    parse_ip_range,
    parse_port,
)
from pytest_fsmredir.model.policy import ListName
from pytest_fsmredir.model.reserved import (
    ADMIN_PORT,
    HEALTH_PORT,
    INBOUND_PORT,
    LIVENESS_PORT,
    METRICS_PORT,
    OUTBOUND_PORT,
    READINESS_PORT,
    SIDECAR_UID,
    STARTUP_PORT,
)

Object = dict[str, Any]

INJECTION = "flomesh.io/sidecar-injection"
MONITORED_BY, IGNORE = "flomesh.io/monitored-by", "flomesh.io/ignore"
INIT_NAME, SIDECAR_NAME, HEALTH_NAME = "fsm-init", "sidecar", "fsm-healthcheck"
HEALTH_PATH = "/fsm-healthcheck"
POD_FILE, MESH_CONFIG_FILE, LISTS_FOLDER = "pod.json", "mesh-config.json", "lists"

_DOCUMENTS = "fsm-documents"
_DOCUMENTS_PATH = "/fsmredir/documents"
_FILE_PREFIX = "fsmredir/"  # of annotations that hold the files

_ENABLED, _DISABLED = ("enabled", "yes", "true"), ("disabled", "no", "false")
_PROBE_PORTS = {
    "livenessProbe": ("liveness-port", LIVENESS_PORT),
    "readinessProbe": ("readiness-port", READINESS_PORT),
    "startupProbe": ("startup-port", STARTUP_PORT),
}


class BadAnnotation(ValueError):
    """The injector refuses the pod; the message is the injector's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The containers to inject into a pod.

    Attributes:
        init: Fields of the init container: ``image``, ``command`` unless the image's entrypoint
            should run, and others as needed.
        sidecar: Fields of the sidecar, likewise.
        health: Fields of the health responder, likewise.
        privileged: The init container is privileged; otherwise it has NET_ADMIN.
        iptables: The iptables variant that the init container should use.
        hold: Start the application only after the sidecar's ``postStart`` hook has ended.
        hold_hook: Command of that hook.
    """

    init: Mapping[str, Any]
    sidecar: Mapping[str, Any]
    health: Mapping[str, Any]
    privileged: bool = False
    iptables: str = "nft"
    hold: bool = True
    hold_hook: Sequence[str] = field(default_factory=tuple)


def wants_injection(pod: Mapping[str, Any], *, namespace_enabled: bool = True) -> bool:
    """Return whether a pod is to be injected: its annotation overrides that of its namespace.

    Raises:
        BadAnnotation: The annotation has an unknown value.
    """
    # FSM leaves host-network pods alone: their rules would change the node.
    if pod["spec"].get("hostNetwork"):
        return False
    own = is_enabled(pod["metadata"].get("annotations") or {})
    return namespace_enabled if own is None else own


def is_enabled(annotations: Mapping[str, str]) -> bool | None:
    """Return whether annotations of a Pod or Namespace enable injection; None if unset.

    Raises:
        BadAnnotation: The annotation has an unknown value.
    """
    value = annotations.get(INJECTION)
    if value is None:
        return None
    if value.lower() not in _ENABLED + _DISABLED:
        raise BadAnnotation(f'invalid annotation value for key "{INJECTION}": {value}')
    return value.lower() in _ENABLED


def require_valid(annotations: Mapping[str, str]) -> None:
    """Check the values of every list annotation.

    FSM's injector accepts any number above 0 as a port, and its init container then fails on 70000.
    Its documentation asks for a port, so refuse 70000 here.

    Raises:
        BadAnnotation: A value is invalid; the message is that of FSM's injector.
    """
    kinds = ((PORT_LISTS, "port value", parse_port), (IP_RANGE_LISTS, "IP range", parse_ip_range))
    for names, kind, parse in kinds:
        for key in filter(None, (name.annotation for name in names)):
            for value in annotations[key].split(",") if key in annotations else ():
                try:
                    parse(value.strip())
                except ValueError:
                    what = f"Invalid {kind} '{value.strip()}' specified for annotation '{key}'"
                    raise BadAnnotation(what) from None


def injected(pod: Mapping[str, Any], mesh_config: Mapping[str, Any], parts: Parts) -> Object:
    """Return an injected copy of a pod.

    Args:
        pod: The Pod as the user wrote it.
        mesh_config: The MeshConfig.
        parts: The containers to inject.
    """
    made: Object = copy.deepcopy(dict(pod))
    spec = made["spec"]
    configuration = Configuration.of(pod, mesh_config)
    documents = {POD_FILE: pod, MESH_CONFIG_FILE: mesh_config}
    lists = list_files(configuration.effective())
    _add_files(
        made,
        {
            **{file: json.dumps(_as_written(document)) for file, document in documents.items()},
            **{f"{LISTS_FOLDER}/{file}": text for file, text in lists.items()},
        },
    )
    needs_health, ports = _rewrite_probes(spec["containers"])
    init = _init_container(configuration, parts)
    # FSM appends its init container, so the pod's other init containers run before redirection.
    spec["initContainers"] = [*(spec.get("initContainers") or ()), init]
    sidecar = _sidecar(parts, ports)
    apps = spec["containers"]
    spec["containers"] = [sidecar, *apps] if parts.hold else [*apps, sidecar]
    if needs_health:
        spec["containers"].append(_health(parts))
    return made


def contract_env(
    effective: Mapping[ListName, Sequence[str]], iptables: str
) -> list[dict[str, object]]:
    """Return the contract's variables: lists as literals, addresses by the downward API."""
    literals = {
        "FSM_PROXY_UID": str(SIDECAR_UID),
        "FSM_INBOUND_PORT": str(INBOUND_PORT),
        "FSM_OUTBOUND_PORT": str(OUTBOUND_PORT),
        **{name: _literal(text) for name, text in list_variables(effective).items()},
        "FSM_POD": f"{_DOCUMENTS_PATH}/{POD_FILE}",
        "FSM_MESH_CONFIG": f"{_DOCUMENTS_PATH}/{MESH_CONFIG_FILE}",
        "FSM_LISTS": f"{_DOCUMENTS_PATH}/{LISTS_FOLDER}",
        "FSM_IPTABLES": iptables,
    }
    made: list[dict[str, object]] = [
        {"name": name, "value": text} for name, text in literals.items()
    ]
    return [*address_env(), *made]


def address_env() -> list[dict[str, object]]:
    """Return POD_IP and POD_IPS, which the kubelet fills in."""
    fields = {"POD_IP": "status.podIP", "POD_IPS": "status.podIPs"}
    return [
        {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
        for name, path in fields.items()
    ]


def _add_files(made: Object, files: Mapping[str, str]) -> None:
    """Store the contract's files in annotations, and mount them by the downward API.

    So a pod needs no further object in its namespace. All annotations of a Pod together may have
    256 KiB (TotalAnnotationSizeLimitB, Kubernetes API machinery).

    Args:
        made: The Pod.
        files: Text of the files, by path in the volume.
    """
    # The key of an annotation may contain one slash only.
    keys = {file: _FILE_PREFIX + file.replace("/", ".") for file in files}
    annotations = dict(made["metadata"].get("annotations") or {})
    annotations |= {keys[file]: text for file, text in files.items()}
    made["metadata"]["annotations"] = annotations
    items = [
        {"path": file, "fieldRef": {"fieldPath": f"metadata.annotations['{key}']"}}
        for file, key in keys.items()
    ]
    volume = {"name": _DOCUMENTS, "downwardAPI": {"items": items}}
    made["spec"]["volumes"] = [*(made["spec"].get("volumes") or ()), volume]


def _as_written(document: Mapping[str, Any]) -> Object:
    """Return an object without the fields that the API server adds."""
    metadata = {k: v for k, v in document["metadata"].items() if k != "managedFields"}
    kept = {k: v for k, v in document.items() if k != "status"}
    # An object in an admission request may lack apiVersion and kind.
    return {"apiVersion": "v1", "kind": "Pod", **kept, "metadata": metadata}


def _literal(text: str) -> str:
    """Escape ``$``, because the kubelet expands ``$(NAME)`` (EnvVar.value, Kubernetes API)."""
    return text.replace("$", "$$")


def _init_container(configuration: Configuration, parts: Parts) -> Object:
    given = dict(parts.init)
    return {
        "name": INIT_NAME,
        **given,
        "securityContext": {
            "runAsUser": 0,
            "runAsGroup": 0,
            "runAsNonRoot": False,
            **({"privileged": True} if parts.privileged else {}),
            "capabilities": {"add": ["NET_ADMIN"]},
        },
        "env": [
            *contract_env(configuration.effective(), parts.iptables),
            *given.get("env", ()),
        ],
        "volumeMounts": [
            {"name": _DOCUMENTS, "mountPath": _DOCUMENTS_PATH, "readOnly": True},
            *given.get("volumeMounts", ()),
        ],
    }


def _sidecar(parts: Parts, probe_ports: Mapping[str, int]) -> Object:
    ports = {
        "proxy-admin": ADMIN_PORT,
        "proxy-inbound": INBOUND_PORT,
        "proxy-metrics": METRICS_PORT,
    }
    made: Object = {
        "name": SIDECAR_NAME,
        **parts.sidecar,
        "securityContext": {"runAsUser": SIDECAR_UID, "allowPrivilegeEscalation": False},
        "ports": [
            {"name": name, "containerPort": port} for name, port in {**ports, **probe_ports}.items()
        ],
        "env": [*address_env(), *_probe_env(probe_ports), *parts.sidecar.get("env", ())],
    }
    if parts.hold and parts.hold_hook:
        made["lifecycle"] = {"postStart": {"exec": {"command": list(parts.hold_hook)}}}
    return made


def _probe_env(probe_ports: Mapping[str, int]) -> list[Object]:
    """Return the variable that tells our sidecar which ports the kubelet probes."""
    listed = ",".join(str(port) for port in probe_ports.values())
    return [{"name": "FSM_PROBE_PORTS", "value": listed}]


def _health(parts: Parts) -> Object:
    return {
        "name": HEALTH_NAME,
        **parts.health,
        "ports": [{"name": HEALTH_NAME, "containerPort": HEALTH_PORT}],
        "env": [*address_env(), *parts.health.get("env", ())],
    }


def _rewrite_probes(containers: Sequence[Object]) -> tuple[bool, dict[str, int]]:
    """Redirect httpGet and tcpSocket probes to the sidecar; leave exec and grpc probes.

    Returns:
        Whether a probe needs the health responder, and the sidecar's probe ports by name.
    """
    needs_health = False
    ports: dict[str, int] = {}
    for container in containers:
        for kind, (port_name, port) in _PROBE_PORTS.items():
            probe = container.get(kind) or {}
            if "httpGet" in probe:
                https = probe["httpGet"].get("scheme", "HTTP").upper() == "HTTPS"
                needs_health |= https
                ports[port_name] = port
                probe["httpGet"] = _rewritten_http(probe["httpGet"], container, port, https=https)
            elif "tcpSocket" in probe:
                needs_health = True
                original = _number(probe.pop("tcpSocket")["port"], container)
                probe["httpGet"] = _health_request(HEALTH_PORT, "Original-Tcp-Port", original)
    return needs_health, ports


def _rewritten_http(
    http: Mapping[str, Any], container: Mapping[str, Any], port: int, *, https: bool
) -> Object:
    original = _number(http["port"], container, default=443 if https else 80)
    if https:
        return _health_request(port, "Original-Tcp-Port", original)
    made = _health_request(port, "Original-Http-Port", original)
    made["httpHeaders"] = [
        *http.get("httpHeaders", ()),
        *made["httpHeaders"],
        {"name": "Original-Http-Path", "value": http.get("path") or "/"},
    ]
    return made


def _health_request(port: int, header: str, original: int) -> Object:
    return {
        "port": port,
        "path": HEALTH_PATH,
        "scheme": "HTTP",
        "httpHeaders": [{"name": header, "value": str(original)}],
    }


def _number(port: object, container: Mapping[str, Any], default: int = 0) -> int:
    """Return the number of a port that is given by number or name."""
    if isinstance(port, int):
        return port
    numbers = {each.get("name"): each["containerPort"] for each in container.get("ports", ())}
    return int(numbers.get(port, default))
