"""A kind cluster that a run makes: what happens while it starts, and what does not at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event

import pytest

from pytest_fsmredir.backends.kubernetes import kind_backend
from pytest_fsmredir.backends.kubernetes.cluster import kind, namespaces, remote
from pytest_fsmredir.backends.kubernetes.cluster.client import Cluster, Object
from pytest_fsmredir.backends.kubernetes.cluster.kind import KindOptions, KindSite
from pytest_fsmredir.backends.kubernetes.pods.manifests import Images
from pytest_fsmredir.errors import PreflightError


class Noting(Cluster):
    """A cluster that notes what is deleted."""

    def __init__(self) -> None:
        self.deleted: list[str] = []

    def get(self, path: str, **query: str) -> Object:
        """Return an empty object."""
        del path, query
        return {}

    def create(self, path: str, body: Object) -> Object:
        """Return the object."""
        del path
        return body

    def delete(self, path: str, **query: str) -> None:
        """Note the path."""
        del query
        self.deleted.append(path)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Event:
    """An event that is set while the cluster of a context is made."""
    making = Event()

    @contextmanager
    def kind_site(_: KindOptions, images: Callable[[], Sequence[str]]) -> Iterator[KindSite]:
        making.set()
        assert tuple(images()) == ("image",)
        yield KindSite(None, Noting(), (), fleeting=True)

    monkeypatch.setattr(kind_backend, "preflight", lambda _: None)
    monkeypatch.setattr(kind_backend, "kind_site", kind_site)
    return making


def test_image_is_built_while_the_cluster_is_made(made: Event) -> None:
    """Catches: a first run that builds its image before it begins to make the cluster."""

    def find_images() -> Images:
        assert made.wait(10)
        return Images(pod="image")

    with kind_backend.kind_cluster_context(KindOptions(), find_images) as context:
        assert context.images.pod == "image"


def test_image_that_cannot_be_built_is_told(made: Event) -> None:
    """Catches: the error of another thread that gets lost."""

    def find_images() -> Images:
        assert made.wait(10)
        raise PreflightError("no base image")

    context = kind_backend.kind_cluster_context(KindOptions(), find_images)
    with pytest.raises(PreflightError, match="no base image"), context:
        pass


@pytest.mark.parametrize("fleeting", [True, False])
def test_only_a_cluster_that_stays_is_tidied_up(
    monkeypatch: pytest.MonkeyPatch, *, fleeting: bool
) -> None:
    """Catches: a run that waits for its pods to be removed from a cluster that it deletes."""
    commands: list[str] = []
    monkeypatch.setattr(remote, "unused_ranges", lambda _: ("198.18.0.0/15",))
    monkeypatch.setattr(remote, "forget_routes", lambda _: [])
    monkeypatch.setattr(remote, "_ip", lambda _node, commanded: commands.extend(commanded))
    cluster = Noting()
    with (
        namespaces.namespace(cluster, keep=False, fleeting=fleeting) as name,
        remote.remote_ranges(KindSite(None, cluster, ("one",), fleeting=fleeting)),
    ):
        pass

    assert cluster.deleted == ([] if fleeting else [f"/api/v1/namespaces/{name}"])
    assert [command.split()[1] for command in commands] == ["replace"] + ["del"] * (not fleeting)


class Handle:
    """A handle of a cluster that is never made."""

    name, kind_path = "demo", "true"

    def delete(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    ("running", "keep", "fleeting"),
    [([], False, True), ([], True, False), (["demo"], False, False)],
)
def test_cluster_is_fleeting_if_the_run_makes_and_deletes_it(
    monkeypatch: pytest.MonkeyPatch, running: list[str], *, keep: bool, fleeting: bool
) -> None:
    """Catches: a namespace that is left in the user's own cluster."""

    @contextmanager
    def running_site(_: Handle, *, fleeting: bool) -> Iterator[KindSite]:
        yield KindSite(None, Noting(), (), fleeting)

    monkeypatch.setattr(kind, "_running", lambda _: running)
    monkeypatch.setattr(kind, "handle_of", lambda _: Handle())
    monkeypatch.setattr(kind, "_bring_up", lambda *_, **__: None)
    monkeypatch.setattr(kind, "_takes_images", lambda _: True)
    monkeypatch.setattr(kind, "running_site", running_site)
    with kind.kind_site(KindOptions(name="demo", keep=keep)) as site:
        assert site.fleeting is fleeting
