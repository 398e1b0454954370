from __future__ import annotations

from ipaddress import ip_network

import pytest

from pytest_fsmredir.errors import AnnotationError, MeshConfigError
from pytest_fsmredir.model.configuration import (
    Configuration,
    parse_interface,
    parse_ip_range,
    parse_port,
)
from pytest_fsmredir.model.policy import ListName, Policy

PORTS = "flomesh.io/outbound-port-exclusion-list"
RANGES = "flomesh.io/outbound-ip-range-exclusion-list"


@pytest.mark.parametrize(
    ("name", "annotation", "mesh_config_key", "variable"),
    [
        (
            ListName.OUTBOUND_IP_RANGE_EXCLUSION,
            "flomesh.io/outbound-ip-range-exclusion-list",
            "outboundIPRangeExclusionList",
            "FSM_OUTBOUND_IP_RANGE_EXCLUSION_LIST",
        ),
        (
            ListName.OUTBOUND_IP_RANGE_INCLUSION,
            "flomesh.io/outbound-ip-range-inclusion-list",
            "outboundIPRangeInclusionList",
            "FSM_OUTBOUND_IP_RANGE_INCLUSION_LIST",
        ),
        (
            ListName.OUTBOUND_PORT_EXCLUSION,
            "flomesh.io/outbound-port-exclusion-list",
            "outboundPortExclusionList",
            "FSM_OUTBOUND_PORT_EXCLUSION_LIST",
        ),
        (
            ListName.INBOUND_PORT_EXCLUSION,
            "flomesh.io/inbound-port-exclusion-list",
            "inboundPortExclusionList",
            "FSM_INBOUND_PORT_EXCLUSION_LIST",
        ),
        (
            ListName.NETWORK_INTERFACE_EXCLUSION,
            None,
            "networkInterfaceExclusionList",
            "FSM_NETWORK_INTERFACE_EXCLUSION_LIST",
        ),
    ],
)
def test_list_has_the_name_that_fsm_reads(
    name: ListName, annotation: str | None, mesh_config_key: str, variable: str
) -> None:
    """Catches: an annotation key that FSM does not read, so the list has no effect there."""
    assert (name.annotation, name.mesh_config_key, name.variable) == (
        annotation,
        mesh_config_key,
        variable,
    )


@pytest.mark.parametrize(("text", "port"), [("1", 1), ("0080", 80), ("65535", 65535)])
def test_port_in_range_is_accepted(text: str, port: int) -> None:
    """Catches: an off-by-one at the ends of the range, or a refusal of leading zeros."""
    assert parse_port(text) == port


@pytest.mark.parametrize(
    "text", ["", " 80", "0", "-1", "+80", "65536", "70000", "80-90", "80:90", "http", "8e1", "٨٠"]
)
def test_invalid_port_is_refused(text: str) -> None:
    """Catches: a value such as 70000 that fails only in the init container, as in FSM."""
    with pytest.raises(ValueError, match="is not a port from 1 to 65535"):
        parse_port(text)


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("2.2.2.2/24", "2.2.2.0/24"),
        ("1.1.1.1/32", "1.1.1.1/32"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("fd00::1/8", "fd00::/8"),
    ],
)
def test_range_with_host_bits_means_its_network(text: str, network: str) -> None:
    """Catches: the seed's own 2.2.2.2/24 refused for its host bits, or read as one address."""
    assert parse_ip_range(text) == ip_network(network)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10.0.0.1",
        "fd00::1",
        "10.0.0.0/",
        "/8",
        "10.0.0.0/33",
        "fd00::/129",
        "10.0.0.0/-1",
        "10.0.0.0/255.0.0.0",
        "10.0.0/8",
        "10.0.0.0/8/8",
        "example.com/8",
    ],
)
def test_invalid_range_is_refused(text: str) -> None:
    """Catches: a bare address or a netmask that is accepted; FSM's parser refuses both."""
    with pytest.raises(ValueError, match="is not a CIDR range"):
        parse_ip_range(text)


@pytest.mark.parametrize("text", ["lo", "eth0.100", "a23456789012345", "eth+"])
def test_name_that_the_kernel_allows_is_accepted(text: str) -> None:
    """Catches: a rule for interface names that is stricter than the kernel's."""
    assert parse_interface(text) == text


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "a/b", "a:b", "a b", "a\0b", "a234567890123456", "é" * 8],
)
def test_name_that_no_interface_can_have_is_refused(text: str) -> None:
    """Catches: a name that iptables truncates or refuses later. Its length counts in bytes."""
    with pytest.raises(ValueError, match="is not an interface name"):
        parse_interface(text)


def test_absent_lists_mean_an_empty_policy() -> None:
    """Catches: an absent annotation or MeshConfig field that is read as one malformed item."""
    assert Configuration().policy() == Policy()


def test_blanks_around_items_do_not_count() -> None:
    """Catches: a refusal of ``6379, 7070``, or a parser that loses its second port."""
    policy = Configuration(annotations={PORTS: " 6379 , 7070 "}).policy()

    assert policy.outbound_port_exclusion_list == (6379, 7070)


def test_scopes_are_merged_ports_mesh_scope_first() -> None:
    """Catches: one scope that replaces the other, or a duplicate that counts twice."""
    configuration = Configuration(
        annotations={PORTS: "7070,6379"}, traffic={"outboundPortExclusionList": [6379, 5432]}
    )

    assert configuration.policy().outbound_port_exclusion_list == (6379, 5432, 7070)


def test_scopes_are_merged_ranges_pod_scope_first() -> None:
    """Catches: the merge order of port lists used for lists of ranges."""
    configuration = Configuration(
        annotations={RANGES: "10.96.0.0/16"},
        traffic={"outboundIPRangeExclusionList": ["1.1.1.1/32", "10.96.0.0/16"]},
    )

    assert configuration.effective()[ListName.OUTBOUND_IP_RANGE_EXCLUSION] == (
        "10.96.0.0/16",
        "1.1.1.1/32",
    )


def test_ranges_that_differ_in_host_bits_are_one_range() -> None:
    """Catches: duplicates compared as text, so that a policy depends on host bits."""
    policy = Configuration(annotations={RANGES: "2.2.2.2/24,2.2.2.0/24"}).policy()

    assert policy.outbound_ip_range_exclusion_list == (ip_network("2.2.2.0/24"),)


def test_effective_lists_keep_malformed_values() -> None:
    """Catches: malformed values dropped early, so that the implementation never refuses them."""
    configuration = Configuration(annotations={PORTS: "0,,http"})

    assert configuration.effective()[ListName.OUTBOUND_PORT_EXCLUSION] == ("0", "", "http")


@pytest.mark.parametrize("written", ["", "80,", "80,,90", "80,http"])
def test_malformed_annotation_is_named_in_the_error(written: str) -> None:
    """Catches: an error that does not say which of four annotations is malformed."""
    with pytest.raises(AnnotationError, match=f"annotation {PORTS}: '(http)?' is not a port"):
        Configuration(annotations={PORTS: written}).policy()


@pytest.mark.parametrize("written", [0, 65536, True, None, "http", 80.0])
def test_malformed_mesh_config_item_is_named_in_the_error(written: object) -> None:
    """Catches: mesh scope that is not validated, as in FSM, where the init container fails."""
    with pytest.raises(MeshConfigError, match=r"spec\.traffic\.inboundPortExclusionList: "):
        Configuration(traffic={"inboundPortExclusionList": [written]}).policy()


@pytest.mark.parametrize(
    ("traffic", "words"),
    [
        ({"outboundIpRangeExclusionList": []}, r"\.outboundIpRangeExclusionList: no such list"),
        ({"outboundPortExclusionList": "5432"}, r"\.outboundPortExclusionList: '5432' is not a li"),
        ({"outboundPortExclusionList": 5432}, r"\.outboundPortExclusionList: 5432 is not a list"),
        ({"outboundPortExclusionList": None}, r"\.outboundPortExclusionList: None is not a list"),
        ({"outboundPortExclusionList": {80: 1}}, r"List: \{80: 1\} is not a list"),
        (["5432"], r"spec\.traffic: \['5432'\] must be a mapping"),
    ],
)
def test_value_of_a_wrong_type_in_a_mesh_config_is_refused_at_once(
    traffic: object, words: str
) -> None:
    """Catches: a wrong value that changes the policy, or that blames the implementation."""
    with pytest.raises(MeshConfigError, match=words):
        Configuration(traffic=traffic)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("annotations", "words"),
    [
        ({PORTS: 5432}, f"annotation {PORTS}: 5432 must be a string"),
        ({PORTS: ["5432"]}, rf"annotation {PORTS}: \['5432'\] must be a string"),
        ({5432: PORTS}, "annotation 5432: its name must be a string"),
        (PORTS, f"annotations: '{PORTS}' must be a mapping"),
    ],
)
def test_annotation_that_is_not_text_is_refused_at_once(annotations: object, words: str) -> None:
    """Catches: an AttributeError from deep inside for a number given as an annotation."""
    with pytest.raises(AnnotationError, match=words):
        Configuration(annotations)  # type: ignore[arg-type]


def test_foreign_annotations_are_ignored() -> None:
    """Catches: a refused pod, because it has annotations of other tools or other FSM features."""
    annotations = {
        "prometheus.io/port": "http",
        "flomesh.io/network-interface-exclusion-list": "eth1",
    }

    assert Configuration(annotations=annotations).policy() == Policy()


def test_pod_document_holds_annotations_as_written() -> None:
    """Catches: cleaned annotations for a command that parses annotations itself."""
    document = Configuration(annotations={PORTS: " 80,,"}).pod_document("web-1")

    assert document["metadata"] == {
        "name": "web-1",
        "namespace": "app",
        "annotations": {PORTS: " 80,,"},
    }


def test_mesh_config_document_holds_every_list() -> None:
    """Catches: a MeshConfig without its empty lists; FSM requires all five."""
    document = Configuration(traffic={"inboundPortExclusionList": [6379]}).mesh_config_document()

    assert document["spec"]["traffic"] == {
        "outboundIPRangeExclusionList": [],
        "outboundIPRangeInclusionList": [],
        "outboundPortExclusionList": [],
        "inboundPortExclusionList": [6379],
        "networkInterfaceExclusionList": [],
    }
