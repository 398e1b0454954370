"""Set the lists of the mesh's MeshConfig during a run, and restore them at its end."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from pytest_fsmredir.backends.kubernetes.cluster import namespaces
from pytest_fsmredir.backends.kubernetes.cluster.client import ApiError, Cluster, Object
from pytest_fsmredir.errors import BackendError, PreflightError
from pytest_fsmredir.model.policy import ListName

OWNER, SINCE, ORIGINAL = "fsmredir/owner", "fsmredir/since", "fsmredir/original-lists"
"""Annotations of the MeshConfig during a run, by which the next run restores it after a kill."""

_INVALID = (400, 422)  # status of the API server for values that the CRD does not allow

_MODES_OF_PODS = ("", "PodLevel", "iptables")
"""Values of ``interceptionMode`` with which FSM redirects in the pod; ``iptables`` before 1.5."""

Lists = Mapping[str, Sequence[object] | None]


class MeshScope:
    """The five lists of a MeshConfig.

    While a run sets them, every new pod of that mesh gets the run's lists, including pods of users.

    Args:
        cluster: The cluster of the mesh.
        namespace: Namespace of the MeshConfig.
        name: Name of the MeshConfig.

    Attributes:
        called: Name of the MeshConfig in messages.
    """

    def __init__(self, cluster: Cluster, namespace: str, name: str) -> None:
        self._cluster, self.called = cluster, f"MeshConfig {name} in {namespace}"
        self._path = f"/apis/config.flomesh.io/v1alpha3/namespaces/{namespace}/meshconfigs/{name}"
        self._original: Lists | None = None
        self._current: Lists | None = None

    def require_pod_level(self) -> None:
        """Check that the mesh redirects in pods.

        Raises:
            PreflightError: It does not, or the MeshConfig does not exist.
        """
        require_pod_level(self._found(), self.called)

    def take(self) -> None:
        """Reserve the lists for this run, and save their values.

        Raises:
            PreflightError: The MeshConfig does not exist.
            BackendError: Another run has reserved the lists.
        """
        found = self._found()
        metadata, traffic = found["metadata"], found.get("spec", {}).get("traffic") or {}
        notes = metadata.get("annotations") or {}
        if OWNER in notes and not namespaces.is_over(notes[OWNER], str(notes.get(SINCE))):
            raise BackendError(
                f"{self.called} is in use by another run, of {notes[OWNER]}; wait for its end"
            )
        original: Lists = {key: traffic.get(key) for key in _keys()}
        if ORIGINAL in notes:
            original = json.loads(notes[ORIGINAL])
        since = datetime.now(UTC).isoformat()
        ours = {OWNER: namespaces.ourselves(), SINCE: since, ORIGINAL: json.dumps(original)}
        # With the resource version, so that only one of two concurrent runs succeeds.
        version = metadata["resourceVersion"]
        marks = {"annotations": ours, "resourceVersion": version}
        try:
            self._cluster.patch(self._path, {"metadata": marks})
        except ApiError as error:
            if error.status == 409:
                raise BackendError(f"{self.called} was changed by another at once") from None
            raise
        self._original = original

    @property
    def installed(self) -> dict[str, Sequence[object]]:
        """The lists that the mesh had before the run, without empty ones."""
        return {key: values for key, values in (self._original or {}).items() if values}

    def set(self, lists: Mapping[str, Sequence[object]]) -> str:
        """Set the lists; lists that are not named become empty.

        Returns:
            Why the API server refused them; empty when they are in force.
        """
        wanted: Lists = {key: list(lists.get(key, ())) for key in _keys()}
        if wanted == self._current:
            return ""
        try:
            self._cluster.patch(self._path, {"spec": {"traffic": wanted}})
        except ApiError as error:
            if error.status in _INVALID:
                return str(error)
            raise
        self._current = wanted
        return ""

    def restore(self) -> None:
        """Restore the saved lists; do nothing if none are saved."""
        if self._original is None:
            return
        none = dict.fromkeys((OWNER, SINCE, ORIGINAL))
        body = {"metadata": {"annotations": none}, "spec": {"traffic": dict(self._original)}}
        try:
            self._cluster.patch(self._path, body)
        except ApiError as error:
            if error.status != 404:  # the mesh was removed meanwhile
                raise
        self._original = self._current = None

    def put_back(self) -> bool:
        """Restore the lists that an ended run has replaced.

        Returns:
            Whether there was anything to restore.
        """
        try:
            notes = self._found()["metadata"].get("annotations") or {}
        except PreflightError:  # no such mesh exists
            return False
        if not {OWNER, ORIGINAL} <= set(notes):
            return False
        if not namespaces.is_over(notes[OWNER], str(notes.get(SINCE))):
            return False
        self._original = json.loads(notes[ORIGINAL])
        self.restore()
        return True

    def _found(self) -> Object:
        try:
            return self._cluster.get(self._path)
        except ApiError as error:
            if error.status != 404:
                raise
            raise PreflightError(
                f"{self.called} is missing; a mesh reads its lists from there. Install FSM, or the"
                " reference mesh: python -m pytest_fsmredir mesh install"
            ) from None


def require_pod_level(mesh_config: Object, called: str) -> None:
    """Check that a mesh redirects in pods.

    Args:
        mesh_config: The MeshConfig of the mesh.
        called: Name of the MeshConfig in messages.

    Raises:
        PreflightError: The mesh redirects elsewhere; the message names the mode.
    """
    mode = (mesh_config.get("spec", {}).get("traffic") or {}).get("interceptionMode") or ""
    if mode not in _MODES_OF_PODS:
        raise PreflightError(
            f"{called} has interceptionMode {mode}: the mesh redirects traffic on the node and puts"
            " no sidecar and no init container into any pod, so there is nothing in a pod to"
            " judge; this suite judges a mesh whose interceptionMode is PodLevel"
        )


def _keys() -> list[str]:
    return [name.mesh_config_key for name in ListName]
