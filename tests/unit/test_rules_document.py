"""The document as sets of packets, compared with the oracle, which judges single packets."""

from __future__ import annotations

import random
from ipaddress import ip_address, ip_network

import pytest

from pytest_fsmredir.model.flow import Address, Direction, Flow
from pytest_fsmredir.model.oracle import expected
from pytest_fsmredir.model.policy import Network, Policy
from pytest_fsmredir.rules.document import duties, duty_of, signature_of
from pytest_fsmredir.rules.forms import Field
from pytest_fsmredir.rules.packet import Domain
from pytest_fsmredir.rules.pod import Surroundings
from pytest_fsmredir.rules.space import Space
from pytest_fsmredir.suite.catalogue import document

POD = Surroundings({"eth0": ("10.244.0.10", "10.244.0.11", "fd00::a"), "net1": ("10.9.0.1",)})
PORTS = (1, 22, 80, 443, 6379, 15000, 15001, 15003, 15010, 15901, 15904, 65535)


def network(chance: random.Random, family: int) -> Network:
    width = 32 if family == 4 else 128
    length = chance.choice([0, 1, 8, 16, width - 1, width])
    near = int(ip_address(chance.choice(POD.texts() if family == 6 else POD.texts()[:2])))
    base = chance.choice([chance.getrandbits(width), near % (1 << width), 0x7F000001])
    made = ip_address(base) if family == 4 else ip_network((base, length), strict=False)[0]
    return ip_network(f"{made}/{length}", strict=False)


def policy(chance: random.Random) -> Policy:
    def networks() -> tuple[Network, ...]:
        families = chance.choices([4, 6], k=chance.randrange(4))
        return tuple(dict.fromkeys(network(chance, family) for family in families))

    def ports() -> tuple[int, ...]:
        return tuple(chance.sample(PORTS, chance.randrange(5)))

    return Policy(
        outbound_ip_range_exclusion_list=networks(),
        outbound_ip_range_inclusion_list=networks(),
        outbound_port_exclusion_list=ports(),
        inbound_port_exclusion_list=ports(),
        network_interface_exclusion_list=chance.choice([(), ("net1",), ("eth0", "tun0")]),
    )


def flow(chance: random.Random, of: Policy, family: int, direction: Direction) -> Flow:
    """Return a flow near the borders of the policy's ranges."""
    width = 32 if family == 4 else 128
    ranges = (*of.outbound_ip_range_exclusion_list, *of.outbound_ip_range_inclusion_list)
    ends = [
        int(n[i]) + d for n in ranges if n.version == family for i in (0, -1) for d in (-1, 0, 1)
    ]
    own = [int(ip_address(a)) for a in POD.texts() if ip_address(a).version == family]
    loop = [0x7F000001, 0x7F000002] if family == 4 else [1]
    number = chance.choice([*ends, *own, *loop, chance.getrandbits(width)]) % (1 << width)
    if direction is Direction.INBOUND:
        number = chance.choice(own)
    host = str(ip_address(number) if family == 4 else ip_network((number, 128))[0])
    port = chance.choice(PORTS) + chance.choice([0, 0, 1])
    uid = chance.choice([0, 1000, 1499, 1500, 1501]) if direction is Direction.OUTBOUND else None
    return Flow(
        direction, Address(host, min(port, 65535)), uid=uid,
        interface=chance.choice(["eth0", "net1", "tun0"]),
    )  # fmt: skip


def holds(space: Space, of: int, made: Flow) -> bool:
    """Whether a flow is in a set of packets, whatever its other fields are."""
    domain = Domain(space, POD)
    number, port = int(ip_address(made.destination.host)), made.destination.port
    device, uid = space.index(made.interface), 0 if made.uid is None else made.uid
    for name, value in (
        (Field.IN, device), (Field.UID, uid), (Field.PORT, port), (Field.DESTINATION, number),
    ):  # fmt: skip
        of = space.bdd.both(of, domain.only(name, ((value, value),)))
    return of != 0


def agrees(seed: int, flows: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a seeded draw
    family, direction = chance.choice([4, 6]), chance.choice(list(Direction))
    made = policy(chance)
    space = Space(family, ("lo", "eth0", "net1", "tun0"), POD.local(family))
    wanted = duties(made, space, POD, direction)
    domain = Domain(space, POD)
    every = domain.of(direction)
    for _ in range(flows):
        one = flow(chance, made, family, direction)
        end = int(ip_address(one.destination.host))
        if not space.bdd.both(every, domain.only(Field.DESTINATION, ((end, end),))):
            continue  # such as multicast: no TCP connection is opened to it
        routes = {duty.route for duty, some in wanted if holds(space, some, one)}
        signature = signature_of(made, one, family, POD)
        decided = duty_of(made, one, signature, POD.texts()) is not None
        wanted_routes = {expected(made, one, POD.texts())} if decided else set()
        assert routes == wanted_routes, f"{seed}: {one} in {made}"


@pytest.mark.parametrize("host", ["10.244.0.10", "127.0.0.1"])
@pytest.mark.parametrize("port", [15000, 15010])
def test_own_call_of_a_reserved_port_is_open_as_the_sentence_says(host: str, port: int) -> None:
    """Catches: a proof and a document of which one alone leaves the sidecar's own call open."""
    for uid, is_open in ((1500, True), (1000, False)):
        one = Flow(Direction.OUTBOUND, Address(host, port), uid=uid)
        duty = duty_of(Policy(), one, signature_of(Policy(), one, 4, POD), POD.texts())
        assert (duty is None) is is_open
    assert "calls of reserved ports are left open" in document()["SPEC-7.4"].text


@pytest.mark.parametrize("seed", range(60))
def test_sets_agree_with_the_oracle(seed: int) -> None:
    """Catches: a proof that is based on another reading of the document than the checks."""
    agrees(seed, 20)


@pytest.mark.slow
def test_sets_agree_with_the_oracle_for_thousands_of_policies() -> None:
    """Catches: a rare difference between the sets and the oracle."""
    for seed in range(1000, 3000):
        agrees(seed, 6)
