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
def test_list_is_named_as_fsm_names_it(
    name: ListName, annotation: str | None, mesh_config_key: str, variable: str
) -> None:
    """Catches: a derived key that FSM does not read, so that the list silently has no effect
    there.
    """
    assert (name.annotation, name.mesh_config_key, name.variable) == (
        annotation,
        mesh_config_key,
        variable,
    )


@pytest.mark.parametrize(("text", "port"), [("1", 1), ("0080", 80), ("65535", 65535)])
def test_port_in_range_is_accepted(text: str, port: int) -> None:
    """Catches: an off-by-one at either end of the range, or leading zeros refused, which FSM
    accepts.
    """
    assert parse_port(text) == port


@pytest.mark.parametrize(
    "text", ["", " 80", "0", "-1", "+80", "65536", "70000", "80-90", "80:90", "http", "8e1", "٨٠"]
)
def test_what_is_no_port_is_refused(text: str) -> None:
    """Catches: a value that only fails in the init container, as 70000 does in FSM."""
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
def test_range_stands_for_its_network(text: str, network: str) -> None:
    """Catches: the seed's own 2.2.2.2/24 refused for its host bits, or taken as one address."""
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
def test_what_is_no_range_is_refused(text: str) -> None:
    """Catches: a bare address or a netmask let through: FSM's parser refuses both."""
    with pytest.raises(ValueError, match="is not a CIDR range"):
        parse_ip_range(text)


@pytest.mark.parametrize("text", ["lo", "eth0.100", "a23456789012345", "eth+"])
def test_name_that_the_kernel_allows_is_accepted(text: str) -> None:
    """Catches: an own idea of interface names that is stricter than the kernel's."""
    assert parse_interface(text) == text


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "a/b", "a:b", "a b", "a\0b", "a234567890123456", "é" * 8],
)
def test_name_that_no_interface_can_have_is_refused(text: str) -> None:
    """Catches: a name cut or refused by iptables later; length counts in bytes, not in
    characters.
    """
    with pytest.raises(ValueError, match="is not an interface name"):
        parse_interface(text)


def test_nothing_written_means_empty_policy() -> None:
    """Catches: an absent annotation or MeshConfig field treated as an empty, malformed item."""
    assert Configuration().policy() == Policy()


def test_blanks_around_items_do_not_count() -> None:
    """Catches: ``6379, 7070`` refused, or its second port lost."""
    policy = Configuration(annotations={PORTS: " 6379 , 7070 "}).policy()

    assert policy.outbound_port_exclusion_list == (6379, 7070)


def test_scopes_are_united_ports_mesh_scope_first() -> None:
    """Catches: one scope replacing the other, or a double counted twice."""
    configuration = Configuration(
        annotations={PORTS: "7070,6379"}, traffic={"outboundPortExclusionList": [6379, 5432]}
    )

    assert configuration.policy().outbound_port_exclusion_list == (6379, 5432, 7070)


def test_scopes_are_united_ranges_pod_scope_first() -> None:
    """Catches: the merge order of the two kinds of list mixed up."""
    configuration = Configuration(
        annotations={RANGES: "10.96.0.0/16"},
        traffic={"outboundIPRangeExclusionList": ["1.1.1.1/32", "10.96.0.0/16"]},
    )

    assert configuration.effective()[ListName.OUTBOUND_IP_RANGE_EXCLUSION] == (
        "10.96.0.0/16",
        "1.1.1.1/32",
    )


def test_two_spellings_of_one_range_are_one_range() -> None:
    """Catches: doubles removed by spelling only, so that a policy depends on host bits."""
    policy = Configuration(annotations={RANGES: "2.2.2.2/24,2.2.2.0/24"}).policy()

    assert policy.outbound_ip_range_exclusion_list == (ip_network("2.2.2.0/24"),)


def test_effective_lists_keep_malformed_values() -> None:
    """Catches: values cleaned before the implementation sees them, so that it never has to
    refuse.
    """
    configuration = Configuration(annotations={PORTS: "0,,http"})

    assert configuration.effective()[ListName.OUTBOUND_PORT_EXCLUSION] == ("0", "", "http")


@pytest.mark.parametrize("written", ["", "80,", "80,,90", "80,http"])
def test_malformed_annotation_is_named_in_the_error(written: str) -> None:
    """Catches: an error that leaves the user to guess which of four annotations it means."""
    with pytest.raises(AnnotationError, match=f"annotation {PORTS}: '(http)?' is not a port"):
        Configuration(annotations={PORTS: written}).policy()


@pytest.mark.parametrize("written", [0, 65536, True, None, "http", 80.0])
def test_malformed_mesh_config_item_is_named_in_the_error(written: object) -> None:
    """Catches: mesh scope unvalidated, as in FSM, where only the init container notices."""
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
def test_what_no_mesh_config_holds_is_refused_at_once(traffic: object, words: str) -> None:
    """Catches: a slip that turns an exclusion into nothing or other ports, or blames the
    implementation.
    """
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
def test_what_no_pod_holds_is_refused_at_once(annotations: object, words: str) -> None:
    """Catches: a number for a text, found out by a method that numbers do not have."""
    with pytest.raises(AnnotationError, match=words):
        Configuration(annotations)  # type: ignore[arg-type]


def test_foreign_annotations_are_ignored() -> None:
    """Catches: any pod refused that carries annotations of other tools, or of FSM's other
    features.
    """
    annotations = {
        "prometheus.io/port": "http",
        "flomesh.io/network-interface-exclusion-list": "eth1",
    }

    assert Configuration(annotations=annotations).policy() == Policy()


def test_pod_document_holds_annotations_as_written() -> None:
    """Catches: a command that parses annotations itself given cleaned ones."""
    document = Configuration(annotations={PORTS: " 80,,"}).pod_document("web-1")

    assert document["metadata"] == {
        "name": "web-1",
        "namespace": "app",
        "annotations": {PORTS: " 80,,"},
    }


def test_mesh_config_document_holds_every_list() -> None:
    """Catches: a list left out of the MeshConfig where it is empty: FSM requires all five."""
    document = Configuration(traffic={"inboundPortExclusionList": [6379]}).mesh_config_document()

    assert document["spec"]["traffic"] == {
        "outboundIPRangeExclusionList": [],
        "outboundIPRangeInclusionList": [],
        "outboundPortExclusionList": [],
        "inboundPortExclusionList": [6379],
        "networkInterfaceExclusionList": [],
    }
