"""The pods of a run, as they are sent to a cluster."""

from __future__ import annotations

import pytest

from pytest_fsmredir.backends.kubernetes.cluster.client import Object
from pytest_fsmredir.backends.kubernetes.pods.manifests import Images, mesh_pod, plain_pod
from pytest_fsmredir.implementations.base import IptablesVariant
from pytest_fsmredir.model.configuration import Configuration

LISTS = Configuration({"flomesh.io/outbound-port-exclusion-list": "6379"})
OURS = Images(pod="image")


def made(
    configuration: Configuration, images: Images = OURS, more: tuple[Object, ...] = ()
) -> list[Object]:
    """Return the containers of a pod."""
    pod = plain_pod("pod", configuration, images)
    pod["spec"]["containers"] += more
    injected = mesh_pod(
        pod, configuration, images=images, init_command=["true"], iptables=IptablesVariant.NFT
    )
    containers: list[Object] = injected["spec"]["containers"]
    return containers


def test_sidecar_of_a_pod_with_lists_is_a_process_of_the_application() -> None:
    """Catches: a run whose every pod costs its node a third container."""
    (app,) = made(LISTS)
    assert app["command"][-3:] == ["stdio", "app", "sidecar"]
    assert {each["name"] for each in app["env"]} >= {"POD_IPS", "FSM_PROBE_PORTS"}


@pytest.mark.parametrize(
    ("configuration", "images", "more"),
    [
        (Configuration(), OURS, ()),
        (LISTS, OURS, ({"name": "probed"},)),
        (LISTS, Images(pod="image", sidecar={"image": "pipy"}), ()),
    ],
    ids=["no lists", "more containers", "foreign sidecar"],
)
def test_other_pods_have_the_containers_that_fsm_injects(
    configuration: Configuration, images: Images, more: tuple[Object, ...]
) -> None:
    """Catches: no pod of a run has the form of the pods that users have."""
    names = [each["name"] for each in made(configuration, images, more)]
    assert names == ["sidecar", "app", *(each["name"] for each in more)]
