"""Annotations that tests and checks may give a pod."""

from __future__ import annotations

import pytest

from pytest_fsmredir.backends.configurations import asked_for
from pytest_fsmredir.errors import AnnotationError
from pytest_fsmredir.model.configuration import Configuration


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("outbound-port-exclusion-lists", "did you mean flomesh.io/outbound-port-exclusion-list?"),
        ("outbound-ports-exclusion-list", "did you mean flomesh.io/outbound-port-exclusion-list?"),
        ("Inbound-Port-Exclusion-List", "did you mean flomesh.io/inbound-port-exclusion-list?"),
        ("sidecar-inject", "did you mean flomesh.io/sidecar-injection?"),
        ("network-interface-exclusion-list", "set networkInterfaceExclusionList in the MeshConfig"),
        ("x", "the lists are flomesh.io/outbound-ip-range-exclusion-list, "),
    ],
)
def test_unknown_annotation_of_fsm_is_refused_with_a_hint(name: str, hint: str) -> None:
    """Catches: a test that passes because its list has a misspelled name and the pod ignores it."""
    with pytest.raises(AnnotationError) as caught:
        asked_for({f"flomesh.io/{name}": "80"}, None)
    assert str(caught.value).startswith(
        f"annotation flomesh.io/{name}: FSM has no such annotation; {hint}"
    )


def test_annotations_of_fsm_and_of_other_tools_are_accepted() -> None:
    """Catches: a test that cannot annotate its pod as users do."""
    given = {
        "flomesh.io/sidecar-injection": "enabled",
        "flomesh.io/sidecar-image": "pipy",
        "flomesh.io/sidecar-resource-limits-cpu": "1",
        "flomesh.io/sidecar-resource-requests-memory": "1Gi",
        "flomesh.io/metrics": "enabled",
        "flomesh.io/hold-application-until-proxy-starts": "false",
        "flomesh.io/graceful-exit-until-downstream-ends": "false",
        "flomesh.io/inbound-port-exclusion-list": "80",
        "prometheus.io/port": "http",
        "inbound-port-exclusion-lists": "80",
    }
    assert asked_for(given, None) == Configuration(given)
