"""Fixtures for the user's tests: a mesh of pods, on the backend that the options name.

Override a small fixture (``fsm_implementation``, ``fsm_family``) in a ``conftest.py`` to change
what the other fixtures use. Large modules are imported only when a test uses a fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Any, cast

import pytest

if TYPE_CHECKING:
    from pytest_kind import KindCluster

    from pytest_fsmredir.backends.base import Mesh, Pod
    from pytest_fsmredir.backends.facets import (
        ForeignPrograms,
        ForgedPackets,
        KernelSettings,
        Programmer,
        SecondInterface,
        Sidecars,
        Taps,
    )
    from pytest_fsmredir.backends.protocols import Backend, JudgedMesh
    from pytest_fsmredir.backends.workloads import Workloads
    from pytest_fsmredir.config.settings import Settings
    from pytest_fsmredir.implementations.base import Implementation, IptablesVariant
    from pytest_fsmredir.model.facets import Facet


_OF_POD = Signature(
    [
        *(Parameter(n, Parameter.POSITIONAL_OR_KEYWORD) for n in ("annotations", "mesh_config")),
        *(Parameter(name, Parameter.KEYWORD_ONLY) for name in ("fresh", "second_interface")),
    ]
)
"""Signature of the marker ``fsm_pod``."""

_NODES = pytest.StashKey[tuple[str, ...]]()


def nodes_of_tests(config: pytest.Config) -> tuple[str, ...]:
    """Return the names of the nodes that tests run on; empty if the options name no nodes.

    Raises:
        pytest.UsageError: The nodes do not exist or cannot be listed.
    """
    from pytest_fsmredir.config.reading import read_all_settings
    from pytest_fsmredir.errors import FsmRedirError
    from pytest_fsmredir.suite.backends import nodes_to_run_on

    if _NODES not in config.stash:
        try:
            settings = read_all_settings(config)
            found = nodes_to_run_on(settings, ready=not config.option.collectonly)
        except FsmRedirError as error:
            raise pytest.UsageError(str(error)) from None
        config.stash[_NODES] = tuple(found.get(settings.backends[0], ()))
    return config.stash[_NODES]


@pytest.fixture(scope="session")
def fsm_settings(pytestconfig: pytest.Config) -> Settings:
    """The settings from the options of this plugin, ``fsmredir.yaml`` included."""
    from pytest_fsmredir.config.reading import read_all_settings

    return read_all_settings(pytestconfig)


@pytest.fixture(scope="session")
def fsm_implementation(fsm_settings: Settings, pytestconfig: pytest.Config) -> Implementation:
    """The implementation of the pods: ``--fsm-impl``, ``--fsm-init-cmd`` or ``--fsm-rules``.

    Override it to return an object with ``name``, ``features`` and ``program(target)``.
    """
    from pytest_fsmredir.plugin.session import judged

    return judged(fsm_settings, pytestconfig.invocation_params.dir)


@pytest.fixture(scope="session")
def fsm_kind_cluster(fsm_settings: Settings) -> Iterator[KindCluster]:
    """A kind cluster by pytest-kind's options, with ranges that do not overlap the mesh's examples.

    A running cluster is reused and left running. Use this fixture instead of ``kind_cluster``, or
    override it to return ``kind_cluster``.
    """
    from pytest_fsmredir.backends.kubernetes.cluster.kind import kind_site, preflight
    from pytest_fsmredir.suite.backends import kind_options

    options = kind_options(fsm_settings)
    preflight(options)
    with kind_site(options) as site:
        yield site.handle


@pytest.fixture(scope="session")
def fsm_backend(
    fsm_settings: Settings, fsm_implementation: Implementation, request: pytest.FixtureRequest
) -> Iterator[Backend]:
    """The backend that makes pods: the first of ``--fsm-backend``, network namespaces by default.

    If an unprivileged process needs network namespaces, it moves into a new user namespace for the
    rest of the session. A worker of pytest-xdist cannot do so; the error message gives an
    alternative.
    """
    from pytest_fsmredir.backends.netns import privileges
    from pytest_fsmredir.config.parsing import KIND, NETNS
    from pytest_fsmredir.config.sources import command
    from pytest_fsmredir.suite.backends import backend_on, make_backend

    name, nodes = fsm_settings.backends[0], nodes_of_tests(request.config)
    if name == KIND:
        handle = request.getfixturevalue("fsm_kind_cluster")
        backend = backend_on(handle, fsm_settings, fsm_implementation, nodes)
    else:
        if name == NETNS:
            privileges.acquire(fsm_settings.privilege, command(request.config))
        backend = make_backend(name, fsm_settings, fsm_implementation, is_worker=False, nodes=nodes)
    with closing(backend):
        yield backend


@pytest.fixture
def fsm_family(request: pytest.FixtureRequest) -> int:
    """IP version of the flows, 4 or 6; override it, or parametrize it."""
    given: int = getattr(request, "param", 4)
    return given


@pytest.fixture
def fsm_iptables(fsm_settings: Settings, request: pytest.FixtureRequest) -> str:
    """The iptables variant that the implementation finds first on PATH, ``nft`` or ``legacy``.

    ``native`` is nft without iptables. Override it, or parametrize it.
    """
    from pytest_fsmredir.backends.netns.preflight import default_iptables
    from pytest_fsmredir.implementations.base import IptablesVariant

    given: str | None = getattr(request, "param", None)
    if given is not None:
        return given
    asked = "auto" if fsm_settings.iptables == "both" else fsm_settings.iptables
    if asked == "auto" and fsm_settings.backends[0] != "netns":
        return IptablesVariant.NFT
    return IptablesVariant(default_iptables(asked))


@pytest.fixture
def fsm_node(request: pytest.FixtureRequest) -> str:
    """Name of the node for the pods; empty for any. Tests run once for each of ``--fsm-nodes``."""
    return str(getattr(request, "param", ""))


@pytest.fixture
def fsm_mesh(
    fsm_backend: Backend, fsm_family: int, fsm_iptables: str, fsm_node: str
) -> Iterator[Mesh]:
    """Pods on demand, and hosts outside them: ``fsm_mesh.pod(annotations=...)``, ``.server``.

    Connections and listeners of a test end with the test; tests with equal settings share pods.
    """
    variant = _variant(fsm_backend, fsm_family, fsm_iptables)
    mesh = fsm_backend.mesh(*variant, exhaustive=False, node=fsm_node)
    with closing(mesh):
        yield mesh


@pytest.fixture
def fsm_pod(fsm_mesh: Mesh, request: pytest.FixtureRequest) -> Pod:
    """A programmed pod with its sidecar: ``assert fsm_pod.connect(...).captured_outbound``.

    The marker ``@pytest.mark.fsm_pod(annotations={...}, mesh_config={...})`` of the test gives its
    settings. The marker also accepts ``fresh=True`` and ``second_interface=True``, as
    ``fsm_mesh.pod`` and ``fsm_second_interface.pod`` do.
    """
    marker = request.node.get_closest_marker("fsm_pod")
    settings = _settings_of(marker) if marker else {}
    if settings.pop("second_interface", False):
        second: SecondInterface = request.getfixturevalue("fsm_second_interface")
        return second.pod(**settings)
    return fsm_mesh.pod(**settings)


@pytest.fixture
def fsm_programmer(fsm_mesh: Mesh) -> Programmer:
    """Runs the implementation on a pod again: ``fsm_programmer.program(pod, annotations=...)``."""
    from pytest_fsmredir.backends.facets import Programmer

    return _facet(fsm_mesh, Programmer)


@pytest.fixture
def fsm_sidecars(fsm_mesh: Mesh) -> Sidecars:
    """Stops sidecars or makes them forward: ``with fsm_sidecars.stopped(pod)``."""
    from pytest_fsmredir.backends.facets import Sidecars

    return _facet(fsm_mesh, Sidecars)


@pytest.fixture
def fsm_taps(fsm_mesh: Mesh) -> Taps:
    """Captures the packets on a pod's link: ``with fsm_taps.of(pod) as tap``."""
    from pytest_fsmredir.backends.facets import Taps

    return _facet(fsm_mesh, Taps)


@pytest.fixture
def fsm_forged_packets(fsm_mesh: Mesh) -> ForgedPackets:
    """Sends packets made by hand: ``fsm_forged_packets.inject(pod, forge.tcp(...))``."""
    from pytest_fsmredir.backends.facets import ForgedPackets

    return _facet(fsm_mesh, ForgedPackets)


@pytest.fixture
def fsm_foreign_programs(fsm_mesh: Mesh) -> ForeignPrograms:
    """Runs programs in a pod as root: ``fsm_foreign_programs.run(pod, ["iptables", ...])``."""
    from pytest_fsmredir.backends.facets import ForeignPrograms

    return _facet(fsm_mesh, ForeignPrograms)


@pytest.fixture
def fsm_kernel_settings(fsm_mesh: Mesh) -> KernelSettings:
    """Changes settings of a pod's kernel: ``with fsm_kernel_settings.changed(pod, {...})``."""
    from pytest_fsmredir.backends.facets import KernelSettings

    return _facet(fsm_mesh, KernelSettings)


@pytest.fixture
def fsm_second_interface(fsm_mesh: Mesh) -> SecondInterface:
    """Makes pods with a second interface: ``fsm_second_interface.pod(annotations=...)``."""
    from pytest_fsmredir.backends.facets import SecondInterface

    return _facet(fsm_mesh, SecondInterface)


@pytest.fixture
def fsm_workloads(fsm_mesh: Mesh) -> Workloads:
    """The actions of a cluster user: ``fsm_workloads.workload("Deployment")``."""
    from pytest_fsmredir.backends.workloads import Workloads

    return _facet(fsm_mesh, Workloads)


def _facet(mesh: Mesh, kind: type[Facet]) -> Facet:
    """Return a facet of the mesh that ``fsm_mesh`` returns.

    Raises:
        BackendError: The backend of the run does not make it.
    """
    return cast("JudgedMesh", mesh).facet(kind)


def _variant(backend: Backend, family: int, iptables: str) -> tuple[int, IptablesVariant]:
    """Return the IP version and the iptables variant that fixtures or parameters name.

    Raises:
        SettingsError: The value does not exist, or the pods do not support it.
    """
    from pytest_fsmredir.errors import SettingsError
    from pytest_fsmredir.implementations.base import IptablesVariant

    if family not in (families := backend.families):
        had = " and ".join(map(str, families))
        raise SettingsError(
            f"fsm_family: {family!r} is not an IP version of the pods, which have {had}"
        )
    if iptables not in (variants := list(IptablesVariant)):
        known = " and ".join(variants)
        raise SettingsError(
            f"fsm_iptables: {iptables!r} is not a variant of iptables; those are {known}"
        )
    return family, IptablesVariant(iptables)


def _settings_of(marker: pytest.Mark) -> dict[str, Any]:
    """Return the arguments of a marker, by their names in :meth:`Mesh.pod`.

    Raises:
        ConfigurationError: :meth:`Mesh.pod` does not accept an argument.
    """
    from pytest_fsmredir.errors import ConfigurationError

    try:
        return _OF_POD.bind_partial(*marker.args, **marker.kwargs).arguments
    except TypeError as error:
        names = ", ".join(_OF_POD.parameters)
        raise ConfigurationError(f"marker fsm_pod: {error}; it takes {names}") from None
