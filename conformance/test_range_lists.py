"""Lists of ranges, excluded and included alike: long ones and odd items."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from pytest_fsmredir import MUST, Feature, Mesh, Need, Place, Profile, Programmer, check

EXCLUSION_LIST = "flomesh.io/outbound-ip-range-exclusion-list"
INCLUSION_LIST = "flomesh.io/outbound-ip-range-inclusion-list"

# Lists are cut at such places, or dealt out in portions of such sizes.
EDGES = frozenset(n + by for n in (0, 15, 16, 32, 64, 100, 128, 200, 256) for by in (0, 1))


def _only(place: Place) -> str:
    """Return the range that holds a place's address and no other."""
    return str(ip_network(place.address))


def _odd(place: Place) -> list[str]:
    """Return lists that no list has to hold, and that can only mean a place's address."""
    only, bare = _only(place), ip_address(place.address)
    masked = [f"{bare}/255.255.255.255"] if bare.version == 4 else []
    return [f"{only},", f",{only}", f"{only},,{only}", str(bare), *masked]


def _plain(network: IPv4Network | IPv6Network) -> dict[str, IPv4Network | IPv6Network]:
    """Return odd items that can mean one range only, and that range.

    RFC 1918 writes 10/8 and 192.168/16; RFC 4291 allows no such form for IPv6.
    """
    single = ip_network(network[7])
    short = {} if network.version == 6 else {str(network).replace(".0/", "/"): network}
    return {str(network[7]): single, **short}


def _next_to(place: Place) -> str:
    return str(ip_address(place.address) + 1)


def _hosts(mesh: Mesh, length: int) -> list[str]:
    """Return twice as many addresses as a list is long, of which it holds every second one."""
    return [str(mesh.subnet(length // 16 + n // 256)[n % 256]) for n in range(2 * length)]


def _telling(listed: list[str]) -> list[str]:
    """Return the items of a list that show where it was cut; of a short list all."""
    if len(listed) <= 64:
        return listed
    return [item for n, item in enumerate(listed) if n in EDGES or n == len(listed) - 1]


@check(
    "OIX-004",
    requirement="Every range of an exclusion list MUST be direct however long the list is, and"
    " nothing between them.",
    spec="SPEC-13.7",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_EXCLUSION},
    needs={Need.REMOTE_ADDRESSES},
)
def test_exclusion_lists_of_any_length_hold(mesh: Mesh) -> None:
    for length in (2, 15, 16, 17, 64, 300) if mesh.exhaustive else (16, 300):
        hosts = _hosts(mesh, length)
        ranges = [ip_network(host) for host in hosts[::2]]
        pod = mesh.pod(annotations={EXCLUSION_LIST: ",".join(map(str, ranges))})

        for host in (hosts[1], hosts[length | 1], hosts[-1]):
            assert pod.connect(host, 8080).captured_outbound
        for host in _telling(hosts[::2]):
            assert pod.connect(host, 8080).direct


@check(
    "OIX-015",
    requirement="An exclusion list with an empty item, or with an address without a prefix length,"
    " MUST be refused, or exempt the addresses that it names and nothing else.",
    spec="SPEC-13.8",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_EXCLUSION},
    needs={Need.REMOTE_ADDRESSES},
)
def test_odd_exclusion_items_are_refused_or_honoured(mesh: Mesh, programmer: Programmer) -> None:
    pod = mesh.bare_pod()

    for value in _odd(mesh.server):
        if programmer.try_program(pod, annotations={EXCLUSION_LIST: value}).accepted:
            for host in (mesh.client, _next_to(mesh.server)):
                assert pod.connect(host, 8080).captured_outbound
            assert mesh.client.connect(pod, 8080).captured_inbound
            assert pod.connect(mesh.server, 8080).direct


@check(
    "OIX-019",
    requirement="An exclusion list of either scope with an address without a prefix length, or with"
    " a range in short form, MUST be refused, or exempt what it names and nothing else.",
    spec="SPEC-13.8",
    level=MUST,
    profile=Profile.EXCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_EXCLUSION},
    needs={Need.REMOTE_ADDRESSES},
)
def test_plain_exclusion_items_of_either_scope_keep_their_meaning(mesh: Mesh) -> None:
    for item, network in _plain(mesh.subnet(40)).items():
        for lists in (
            {"annotations": {EXCLUSION_LIST: item}},
            {"mesh_config": {"outboundIPRangeExclusionList": [item]}},
        ):
            if mesh.try_pod(**lists).accepted:
                pod = mesh.pod(**lists)
                for host in (mesh.server.address, str(network[0] - 1), str(network[-1] + 1)):
                    assert pod.connect(host, 8080).captured_outbound
                for address in (network[0], network[-1]):
                    assert pod.connect(str(address), 8080).direct


@check(
    "OII-009",
    requirement="Every range of an inclusion list MUST be captured however long the list is, and"
    " nothing between them.",
    spec="SPEC-13.7",
    level=MUST,
    profile=Profile.INCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_INCLUSION},
    needs={Need.REMOTE_ADDRESSES},
)
def test_inclusion_lists_of_any_length_hold(mesh: Mesh) -> None:
    for length in (2, 15, 16, 17, 64, 300) if mesh.exhaustive else (16, 300):
        hosts = _hosts(mesh, length)
        ranges = [ip_network(host) for host in hosts[::2]]
        pod = mesh.pod(annotations={INCLUSION_LIST: ",".join(map(str, ranges))})

        for host in (hosts[1], hosts[length | 1], hosts[-1]):
            assert pod.connect(host, 8080).direct
        for host in _telling(hosts[::2]):
            assert pod.connect(host, 8080).captured_outbound


@check(
    "OII-017",
    requirement="An inclusion list with an empty item, or with an address without a prefix length,"
    " MUST be refused, or capture the addresses that it names and nothing else.",
    spec="SPEC-13.8",
    level=MUST,
    profile=Profile.INCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_INCLUSION},
    needs={Need.REMOTE_ADDRESSES},
)
def test_odd_inclusion_items_are_refused_or_honoured(mesh: Mesh, programmer: Programmer) -> None:
    pod = mesh.bare_pod()

    for value in _odd(mesh.server):
        if programmer.try_program(pod, annotations={INCLUSION_LIST: value}).accepted:
            assert pod.connect(mesh.server, 8080).captured_outbound
            assert mesh.client.connect(pod, 8080).captured_inbound
            for host in (mesh.client, _next_to(mesh.server)):
                assert pod.connect(host, 8080).direct
