"""What a range covers, excluded or included."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from pytest_fsmredir import (
    SIDECAR_UID,
    Case,
    Feature,
    Mesh,
    Need,
    Place,
    Profile,
    Programmer,
    Route,
    Section,
)
from pytest_fsmredir.model.vocabulary import (
    EVERYWHERE,
    EXCLUDED_RANGES,
    EXCLUDING_RANGES,
    INCLUDED_RANGES,
    INCLUDING_RANGES,
)

section = Section(8, Profile.EXCLUSIONS, {Feature.OUTBOUND_IP_RANGE_EXCLUSION})

Network = IPv4Network | IPv6Network
# Short prefixes, and neighbours that no wider range can hold, all far from the other blocks.
APART = {
    4: ("64.0.0.0/3", "46.0.0.0/7", "110.0.1.0/24", "110.0.2.0/24", "110.0.3.0/25"),
    6: ("3000::/5", "3c00::/7", "3f00:0:0:1::/64", "3f00:0:0:2::/64", "3f00:0:0:3::/65"),
}

# Ranges that other programs set apart, and an address of each: services of clusters, shared and
# private networks, metadata of clouds, class E, NAT64, 6to4 and what discards packets.
SET_APART = {
    4: {
        "10.43.0.0/16": "10.43.0.10",
        "100.64.0.0/10": "100.64.0.1",
        "169.254.169.254/32": "169.254.169.254",
        "172.20.0.0/16": "172.20.0.10",
        "192.168.0.0/16": "192.168.0.1",
        "192.0.0.0/24": "192.0.0.192",
        "240.0.0.0/4": "240.0.0.1",
    },
    6: {
        "fd00:10:96::/112": "fd00:10:96::a",
        "fd00:ec2::254/128": "fd00:ec2::254",
        "fec0::/16": "fec0::1",
        "64:ff9b::/96": "64:ff9b::808:808",
        "2002::/16": "2002::1",
        "100::/64": "100::1",
        "8000::/2": "8000::1",  # an IPv4 range of this size would hold other listed ranges
    },
}


def _of_both(one: Place, other: Place) -> Network:
    """Return the smallest range that holds the addresses of two places."""
    network = ip_network(one.address)
    while ip_address(other.address) not in network:
        network = network.supernet()
    return network


def _blocks(mesh: Mesh) -> list[Network]:
    """Return ranges of many prefix lengths."""
    apart = list(map(ip_network, APART[mesh.family]))
    if mesh.family == 4:
        lengths = range(8, 33) if mesh.exhaustive else (8, 9, 15, 16, 17, 23, 24, 25, 31, 32)
        return [*apart, *(ip_network(f"{n + 10}.170.170.170/{n}", strict=False) for n in lengths)]
    lengths = range(16, 129) if mesh.exhaustive else (16, 31, 32, 33, 48, 63, 64, 65, 127, 128)
    firsts = ((n, f"{0x2000 + 16 * n:x}") for n in lengths)
    return [*apart, *(ip_network(f"{a}{':aaaa' * 7}/{n}", strict=False) for n, a in firsts)]


def _quarters(block: Network) -> list[Network]:
    return [ip_network(f"{block[64 * n]}/{block.prefixlen + 2}") for n in range(4)]


def _overlapping(one: Network, two: Network) -> list[Network]:
    """Return ranges that cover two blocks: nested, repeated, the narrow or the wide first."""
    return [one, _quarters(one)[0], _quarters(one)[2], _quarters(two)[0], two, _quarters(one)[2]]


def _written(ranges: list[Network]) -> str:
    """Return a list of ranges, every second one with digits such as A instead of a."""
    return ",".join(str(r).upper() if n % 2 else str(r) for n, r in enumerate(ranges))


def _ends(block: Network) -> list[str]:
    return [str(block[0]), str(block[-1])]


def _beside(block: Network) -> list[str]:
    return [str(block[0] - 1), str(block[-1] + 1)]


def _beside_all(blocks: list[Network]) -> list[str]:
    """Return the addresses next to the blocks that are in none of them."""
    found = [ip_address(address) for block in blocks for address in _beside(block)]
    return [str(each) for each in found if not any(each in block for block in blocks)]


@section.check("OIX-002", "8.2", needs={Need.REMOTE_ADDRESSES})
def test_both_ends_of_an_excluded_range_are_direct(mesh: Mesh) -> None:
    """The first and the last address of an excluded range MUST be direct, whatever its prefix
    length."""
    pod = mesh.pod(annotations={EXCLUDED_RANGES: _written(_blocks(mesh))})

    assert pod.connect(mesh.server, 8080).captured_outbound
    for block in _blocks(mesh):
        for address in _ends(block):
            assert pod.connect(address, 8080).direct


@section.check("OIX-003", "8.2", needs={Need.REMOTE_ADDRESSES})
def test_addresses_beside_an_excluded_range_are_captured(mesh: Mesh) -> None:
    """The addresses just below and just above an excluded range MUST stay captured, a full-length
    prefix excluding one address."""
    pod = mesh.pod(annotations={EXCLUDED_RANGES: _written(_blocks(mesh))})

    assert pod.connect(str(_blocks(mesh)[-1][0]), 8080).direct
    for address in _beside_all(_blocks(mesh)):
        assert pod.connect(address, 8080).captured_outbound


@section.check_each(
    Case(
        "OIX-005", "8.3", "seed example with host bits excludes the whole network", act="exempt",
        **EXCLUDING_RANGES,
    ),
    Case(
        "OII-010", "8.3", "seed example with host bits includes the whole network", act="cover",
        **INCLUDING_RANGES,
    ),
    needs={Need.REMOTE_ADDRESSES},
    families=(4,),
)  # fmt: skip
def test_seed_example_with_host_bits_holds(
    mesh: Mesh, *, in_mesh: str, inside: Route, outside: Route
) -> None:
    """The seed's {done} ranges 1.1.1.1/32 and 2.2.2.2/24 MUST {act} 1.1.1.1 and 2.2.2.0 to
    2.2.2.255, and nothing else."""
    pod = mesh.pod(mesh_config={in_mesh: ["1.1.1.1/32", "2.2.2.2/24"]})

    for address in ("1.1.1.0", "1.1.1.2", "2.2.1.255", "2.2.3.0"):
        assert pod.connect(address, 8080).takes(outside)
    for address in ("1.1.1.1", "2.2.2.0", "2.2.2.2", "2.2.2.3", "2.2.2.255"):
        assert pod.connect(address, 8080).takes(inside)


@section.check_each(
    Case("OIX-021", "8.2", "ranges set apart elsewhere can be excluded", **EXCLUDING_RANGES),
    Case("OII-022", "8.2", "ranges set apart elsewhere can be included", **INCLUDING_RANGES),
    needs={Need.REMOTE_ADDRESSES, Need.PRIVATE_ADDRESSES},
)
def test_range_set_apart_elsewhere_is_a_range(
    mesh: Mesh, programmer: Programmer, *, listed: str, inside: Route, outside: Route
) -> None:
    """An address in {done} ranges MUST be {fate} also if it is private, link-local or reserved, or
    of the network of the pod itself."""
    pod, neighbour = mesh.bare_pod(), mesh.bare_pod()
    ranges = (_of_both(pod, neighbour), *SET_APART[mesh.family])
    programmer.program(pod, annotations={listed: ",".join(map(str, ranges))})

    assert pod.connect(mesh.server, 8080).takes(outside)
    for address in (neighbour.address, *SET_APART[mesh.family].values()):
        assert pod.connect(address, 8080).takes(inside)


@section.check_each(
    Case("OIX-009", "8.4", "overlapping excluded ranges are united", **EXCLUDING_RANGES),
    Case("OII-011", "8.4", "overlapping included ranges are united", **INCLUDING_RANGES),
    needs={Need.REMOTE_ADDRESSES},
)
def test_overlapping_ranges_are_united(
    mesh: Mesh, *, listed: str, inside: Route, outside: Route
) -> None:
    """Overlapping, nested and repeated {done} ranges SHOULD act as their union."""
    blocks = [mesh.subnet(1), mesh.subnet(2)]
    pod = mesh.pod(annotations={listed: _written(_overlapping(*blocks))})

    for block in blocks:
        for address in _beside(block):
            assert pod.connect(address, 8080).takes(outside)
    for block in blocks:
        for quarter in _quarters(block):
            for address in _ends(quarter):
                assert pod.connect(address, 8080).takes(inside)


@section.check("OIX-013", "8.3", needs={Need.REMOTE_ADDRESSES}, families=(6,))
def test_host_bits_of_an_excluded_range_mean_nothing(mesh: Mesh) -> None:
    """An excluded range written with host bits MUST stand for its whole network."""
    block = _quarters(mesh.subnet(4))[1]
    pod = mesh.pod(annotations={EXCLUDED_RANGES: f"{block[9]}/{block.prefixlen}"})

    for address in _beside(block):
        assert pod.connect(address, 8080).captured_outbound
    for address in (*_ends(block), str(block[9])):
        assert pod.connect(address, 8080).direct


@section.check(
    "OII-003",
    "8.2",
    profile=Profile.INCLUSIONS,
    features={Feature.OUTBOUND_IP_RANGE_INCLUSION},
    needs={Need.REMOTE_ADDRESSES},
)
def test_included_range_covers_its_block_exactly(mesh: Mesh) -> None:
    """An included range MUST cover the addresses of its block from the first to the last and no
    other address, for every prefix length."""
    pod = mesh.pod(annotations={INCLUDED_RANGES: _written(_blocks(mesh))})

    for block in _blocks(mesh):
        for address in _ends(block):
            assert pod.connect(address, 8080).captured_outbound
    for address in _beside_all(_blocks(mesh)):
        assert pod.connect(address, 8080).direct


@section.check(
    "OII-007", "8.4", profile=Profile.INCLUSIONS, features={Feature.OUTBOUND_IP_RANGE_INCLUSION}
)
def test_inclusion_of_everything_is_the_default(mesh: Mesh) -> None:
    """An inclusion of every address SHOULD act as the default, everything outbound being captured
    and UID 1500 exempt."""
    pod = mesh.pod(annotations={INCLUDED_RANGES: EVERYWHERE[mesh.family]})

    for host in (mesh.server, mesh.client):
        assert pod.connect(host, 8080).captured_outbound
        assert pod.connect(host, 8080, uid=SIDECAR_UID).direct
        assert host.connect(pod, 8080).captured_inbound
