"""A pod as a file holds it: everything that decides where its traffic goes, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface, ip_network
from typing import Final

from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.listings import ways_out
from pytest_fsmredir.model.policy import ListName

READ_BY_A_MESH: Final = frozenset(
    {
        "flomesh.io/sidecar-injection",
        *(name.annotation for name in ListName if name.annotation is not None),
    }
)
"""The annotations that decide where traffic goes. Others can hold anything, such as a secret."""


@dataclass(frozen=True, slots=True)
class CapturedInterface:
    """An interface of the pod, without loopback.

    Attributes:
        name: Its name in the pod.
        addresses: Its addresses with the prefix length, such as ``10.244.1.8/24``; primary first.
    """

    name: str
    addresses: tuple[str, ...]

    @property
    def hosts(self) -> tuple[str, ...]:
        """Its addresses without the prefix length."""
        return tuple(str(ip_interface(each).ip) for each in self.addresses)


@dataclass(frozen=True, slots=True)
class CapturedListener:
    """A TCP socket of the pod that listens.

    Attributes:
        address: Its local address.
        port: Its port.
        uid: The user that owns it.
    """

    address: str
    port: int
    uid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """What is known about one pod.

    Attributes:
        pod: Its name, as ``NAMESPACE/NAME``; it is only for the reader.
        taken_from: ``pod``, ``node`` or ``files``.
        interfaces: Its interfaces, the primary one first.
        users: The user ids of its containers, by container.
        listeners: Its listening sockets; the sidecar's are among them.
        annotations: Its annotations that a mesh reads.
        traffic: The lists under ``spec.traffic`` of the MeshConfig.
        settings: Kernel settings, such as ``net.ipv4.ip_forward``.
        listings: What the programs that list rules and routes printed, by the name of the listing.
        left_out: What the file does not hold, one phrase each.
        redacted: Whether other addresses stand for the real ones.
    """

    pod: str
    taken_from: str = "files"
    interfaces: tuple[CapturedInterface, ...]
    users: Mapping[str, int] = field(default_factory=dict)
    listeners: tuple[CapturedListener, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    traffic: Mapping[str, Sequence[object]] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    listings: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    redacted: bool = False

    @property
    def configuration(self) -> Configuration:
        """The annotations and the lists of the mesh.

        Raises:
            ConfigurationError: No Pod or MeshConfig can hold them.
        """
        return Configuration(self.annotations, self.traffic)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every address of the pod, without loopback, in the order of the file."""
        return tuple(host for interface in self.interfaces for host in interface.hosts)

    def interface_of(self, address: str) -> str:
        """Return the interface with an address of the pod; the primary one for another address."""
        owners = (each.name for each in self.interfaces if address in each.hosts)
        return next(owners, self.interfaces[0].name)

    def interface_to(self, host: str) -> str:
        """Return the interface of the most specific route to a remote address.

        It is the primary one if no route of the main table leads there.
        """
        address = ip_address(host)
        found = {
            network.prefixlen: device
            for network, device in reversed(self.ways_out(address.version))
            if address in network
        }
        return found[max(found)] if found else self.interfaces[0].name

    def ways_out(self, family: int) -> list[tuple[IPv4Network | IPv6Network, str]]:
        """Return the destination and the interface of each route of an IP version."""
        names = {each.name for each in self.interfaces}
        everywhere = "0.0.0.0/0" if family == 4 else "::/0"
        found = []
        for text, device in ways_out(self.listings.get(f"route{family}", "")):
            with suppress(ValueError):  # the replay rejects a wrong line and names it
                network = ip_network(everywhere if text == "default" else text, strict=False)
                found += [(network, device)] if device in names else []
        return found

    @property
    def families(self) -> tuple[int, ...]:
        """The IP versions of its primary interface."""
        return tuple(sorted({6 if ":" in host else 4 for host in self.interfaces[0].hosts}))
