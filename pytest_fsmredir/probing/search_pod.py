"""Make a pod with lists, and search it for flows that its rules treat wrongly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pytest_fsmredir.backends.base import Mesh
from pytest_fsmredir.backends.facets import SearchTools, SecondInterface
from pytest_fsmredir.model.checks import Level
from pytest_fsmredir.model.claims import require
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.probing.search import Search, search


def search_pod(
    mesh: Mesh,
    tools: SearchTools,
    level: Level,
    annotations: Mapping[str, str],
    second: SecondInterface | None = None,
    mesh_config: Mapping[str, Sequence[object]] | None = None,
) -> Search:
    """Search a pod with some lists, and see first that its rules are in force.

    Args:
        mesh: The mesh of the check.
        tools: Read the rules of the pod, and send any packet.
        level: The requirement level of the sentences to test.
        annotations: The annotations of the pod.
        second: Makes the pod, with a second interface.
        mesh_config: The lists of the MeshConfig.

    Raises:
        Unmet: A plain connection is not captured.
        BackendError: See :func:`pytest_fsmredir.probing.search.search`.
    """
    lists = mesh_config or {}
    make = mesh.pod if second is None else second.pod
    pod = make(annotations=annotations, mesh_config=lists)
    beyond = None if second is None else second.remote_address()

    require(pod.connect(mesh.server, 8080).captured_outbound)
    require(mesh.client.connect(pod, 8080).captured_inbound)
    configuration = Configuration(annotations, lists)
    programs, kernel, taps, forged = tools.programs, tools.kernel, tools.taps, tools.forged
    return search(mesh, pod, programs, kernel, taps, forged, level, configuration, beyond)
