"""Install the reference mesh in a cluster, and remove it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from pytest_fsmredir.backends.kubernetes.cluster import namespaces
from pytest_fsmredir.backends.kubernetes.cluster.certificates import certificate_for
from pytest_fsmredir.backends.kubernetes.cluster.client import ApiError, Cluster, Object
from pytest_fsmredir.backends.kubernetes.pods.injection import INIT_NAME, INJECTION, MONITORED_BY
from pytest_fsmredir.errors import DeadlineError, PreflightError
from pytest_fsmredir.reference_mesh import objects
from pytest_fsmredir.reference_mesh.objects import Piece

READY_S = 120.0
"""Seconds until the webhook injects a first pod: its image may have to be pulled."""

REMOVED_S = 120.0
"""Seconds that the cluster may take to delete everything."""

_LOOK_S = 0.3
_CRD_S = 30.0

_WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
_MESH_NAME = "fsm"

Say = Callable[[str], object]


def install(cluster: Cluster, image: str, lists: Mapping[str, Sequence[object]], say: Say) -> None:
    """Install the mesh, or upgrade an installed one.

    Args:
        cluster: The cluster to install in.
        image: Image of the mesh, which the nodes have or can pull.
        lists: Lists for the MeshConfig; other lists of an existing MeshConfig stay unchanged.
        say: Called with a text for each step.

    Raises:
        PreflightError: The cluster has another mesh.
        DeadlineError: The mesh did not get ready.
    """
    mesh = objects.pieces()
    there = _existing(cluster, mesh)
    _refuse_others(cluster, there)
    secret = there.get("Secret", {})
    certificate = objects.certificate_in(secret) or certificate_for(objects.WEBHOOK_HOST)
    objects.complete(mesh, certificate, image, lists)
    for piece in mesh:
        if piece.kind == "MutatingWebhookConfiguration":
            say("waiting for the webhook")
            _await_deployment(cluster, next(p for p in mesh if p.kind == "Deployment"))
        changed = _apply(cluster, piece, exists=piece.kind in there)
        say(f"{piece.called}: {changed}")
        if piece.kind == "CustomResourceDefinition":
            _await_established(cluster, piece)
    _try_out(cluster)
    say("ready: a trial pod was injected")


def remove(cluster: Cluster, say: Say) -> None:
    """Remove the mesh completely.

    Raises:
        PreflightError: The cluster has another mesh.
        DeadlineError: The cluster did not delete everything in time.
    """
    mesh = objects.pieces()
    there = _existing(cluster, mesh)
    _refuse_others(cluster, there)
    # Delete the webhook first: the API server refuses pods when a registered webhook is down.
    for piece in reversed([piece for piece in mesh if piece.kind in there]):
        cluster.delete(piece.path)
        say(f"{piece.called}: removed")

    def left() -> str:
        return ", ".join(_existing(cluster, mesh))

    _await(left, REMOVED_S, "everything to be gone")


def _existing(cluster: Cluster, mesh: Sequence[Piece]) -> dict[str, Object]:
    """Return the existing objects by kind."""
    found: dict[str, Object] = {}
    for piece in mesh:
        try:
            found[piece.kind] = cluster.get(piece.path)
        except ApiError as error:
            if error.status == 0:
                raise PreflightError(f"the cluster does not answer: {error}") from None
            if error.status != 404:
                raise
    return found


def _refuse_others(cluster: Cluster, there: Mapping[str, Object]) -> None:
    others = [
        f"{kind} {each['metadata']['name']}"
        for kind, each in there.items()
        if not objects.is_ours(each)
    ]
    others += [
        f"MutatingWebhookConfiguration {each['metadata']['name']}"
        for each in cluster.get(_WEBHOOKS)["items"]
        if not objects.is_ours(each)
        and any(w["name"] == objects.WEBHOOK_NAME for w in each.get("webhooks", ()))
    ]
    if others:
        raise PreflightError(
            "this cluster has a mesh that is not ours, probably FSM:"
            f" {', '.join(dict.fromkeys(others))}; nothing was changed."
            " Judge that mesh, or take another cluster"
        )


def _apply(cluster: Cluster, piece: Piece, *, exists: bool) -> str:
    """Create an object, or merge the wanted state into an existing one."""
    if not exists:
        try:
            cluster.create(piece.collection, piece.body)
        except ApiError as error:
            if error.status != 409:  # created meanwhile, for example by a concurrent install
                raise
        else:
            return "made"
    cluster.patch(piece.path, piece.body)
    return "up to date"


def _await_established(cluster: Cluster, crd: Piece) -> None:
    def missing() -> str:
        # The API server returns null, not an empty list, before a controller has set conditions.
        conditions = cluster.get(crd.path).get("status", {}).get("conditions") or []
        held = {c["type"] for c in conditions if c["status"] == "True"}
        return "" if "Established" in held else f"conditions: {sorted(held)}"

    _await(missing, _CRD_S, f"{crd.called} to be established")


def _await_deployment(cluster: Cluster, deployment: Piece) -> None:
    def missing() -> str:
        seen = cluster.get(deployment.path)
        status, wanted = seen.get("status", {}), seen["spec"]["replicas"]
        current = status.get("observedGeneration", 0) >= seen["metadata"]["generation"]
        counts = [status.get(key, 0) for key in ("replicas", "updatedReplicas", "readyReplicas")]
        return "" if current and counts == [wanted] * 3 else _pods(cluster, deployment)

    _await(missing, READY_S, f"{deployment.called} to be ready")


def _pods(cluster: Cluster, deployment: Piece) -> str:
    """Describe the state of a deployment's pods."""
    metadata = deployment.body["metadata"]
    path = f"/api/v1/namespaces/{metadata['namespace']}/pods"
    found = [f"no pod of {metadata['name']} yet"]
    for pod in cluster.get(path, labelSelector=f"app={metadata['name']}")["items"]:
        states = [
            f"{reason.get('reason')}: {reason.get('message', '')}"
            for each in pod["status"].get("containerStatuses") or []
            if (reason := each["state"].get("waiting") or each["state"].get("terminated"))
        ]
        found.append(f"{pod['metadata']['name']} {pod['status']['phase']} {'; '.join(states)}")
    return " | ".join(found[1:] or found).strip()


def _try_out(cluster: Cluster) -> None:
    """Wait until the webhook injects a pod, by dry run in a new namespace."""
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "trial"},
        "spec": {"containers": [{"name": "app", "image": "none"}]},
    }
    with namespaces.namespace(cluster, keep=False) as name:
        marks = {"labels": {MONITORED_BY: _MESH_NAME}, "annotations": {INJECTION: "enabled"}}
        cluster.patch(f"/api/v1/namespaces/{name}", {"metadata": marks})

        def missing() -> str:
            try:
                made = cluster.create(f"/api/v1/namespaces/{name}/pods?dryRun=All", body)
            except ApiError as error:
                return str(error)
            inits = [each["name"] for each in made["spec"].get("initContainers", ())]
            return "" if INIT_NAME in inits else "the pod was accepted and not injected"

        _await(missing, READY_S, "the webhook to inject a trial pod")


def _await(missing: Callable[[], str], within_s: float, what: str) -> None:
    """Wait until ``missing`` returns an empty text.

    Raises:
        DeadlineError: It did not in time; the message contains its last text.
    """
    retrying = Retrying(
        stop=stop_after_delay(within_s), wait=wait_fixed(_LOOK_S), retry=retry_if_result(bool)
    )
    try:
        retrying(missing)
    except RetryError as error:
        seen = error.last_attempt.result()
        raise DeadlineError(f"waited {within_s:.0f} s for {what}; last seen: {seen}") from None
