"""Make the policy, the pod and the packet that the command line options describe."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path as File
from typing import Any

import yaml

from pytest_fsmredir.errors import SettingsError
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.flow import Address, Direction, Flow
from pytest_fsmredir.model.policy import Policy
from pytest_fsmredir.rules.document import Duty, duty_of, signature_of
from pytest_fsmredir.rules.iptables_targets import split_target
from pytest_fsmredir.rules.packet import ICMP, ICMPV6, TCP, UDP, Packet, text_of
from pytest_fsmredir.rules.pod import Surroundings
from pytest_fsmredir.rules.prove import UNTOUCHED
from pytest_fsmredir.rules.ruleset import RuleSet
from pytest_fsmredir.rules.vocabulary import PROTOCOLS, integer, named

_REMOTE = {4: "198.51.100.10", 6: "2001:db8:5::10"}


def surroundings(arguments: argparse.Namespace, rules: RuleSet) -> Surroundings:
    """Return the pod with the given addresses; by default those of the routes that were read.

    Raises:
        SettingsError: A text is not an address.
    """
    for text in arguments.address:
        try:
            ip_address(text)
        except ValueError:
            raise SettingsError(f"--address {text!r} is not an IP address") from None
    if arguments.address:
        return Surroundings({"eth0": tuple(arguments.address)})
    return Surroundings.of(rules) or Surroundings()


def policy(arguments: argparse.Namespace) -> Policy:
    """Return the policy of the given annotations and MeshConfig.

    Raises:
        SettingsError: An option is malformed.
        ConfigurationError: A value of a list is invalid.
    """
    return configuration(arguments, {}).policy()


def configuration(arguments: argparse.Namespace, before: Mapping[str, str]) -> Configuration:
    """Return the given annotations and MeshConfig.

    Args:
        arguments: The options ``annotation`` and ``mesh_config``.
        before: Annotations that the options add to and replace.

    Raises:
        SettingsError: An option is malformed.
        ConfigurationError: A list is no list.
    """
    annotations = dict(before)
    for text in arguments.annotation:
        name, equals, value = text.partition("=")
        if not equals:
            raise SettingsError(f"--annotation {text!r} is not NAME=VALUE")
        annotations[name] = value
    pod = {"metadata": {"annotations": annotations}}
    return Configuration.of(pod, _mesh_config(arguments.mesh_config))


def _mesh_config(file: File | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        document = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as why:
        raise SettingsError(f"--mesh-config {file}: {why}") from None
    if not isinstance(document, dict) or not isinstance(document.get("spec", {}), dict):
        raise SettingsError(f"--mesh-config {file}: it is not a MeshConfig")
    return document


def packet(arguments: argparse.Namespace, pod: Surroundings) -> Packet:
    """Return the packet that the options describe.

    Raises:
        SettingsError: The packet cannot exist; the message names the option.
    """
    outbound = arguments.out is not None
    try:
        host, port = _end(arguments.out if outbound else arguments.into, pod)
        family = ip_address(host).version
        own = [text for text in pod.texts() if ip_address(text).version == family]
        other = own[0] if outbound and own else _REMOTE[family]
        source, source_port = split_target(arguments.source or other)
        return Packet(
            direction=Direction.OUTBOUND if outbound else Direction.INBOUND,
            family=family,
            source=_address(source, family),
            destination=int(ip_address(host)),
            source_port=integer(source_port or "40000"),
            port=port,
            interface=arguments.interface or _interface(host, pod, outbound=outbound),
            protocol=_protocol(arguments.protocol, family),
            **{
                name: integer(getattr(arguments, name))
                for name in ("uid", "gid", "mark", "tos", "ttl", "length")
            },
        )
    except ValueError as why:
        raise SettingsError(f"impossible packet: {why}") from None


def _end(text: str, pod: Surroundings) -> tuple[str, int]:
    if text.isdigit():
        return pod.texts()[0], integer(text)
    host, port = split_target(text)
    return host, integer(port or "0")


def _address(text: str, family: int) -> int:
    found = ip_address(text)
    if found.version != family:
        raise ValueError(f"{text} is not an IPv{family} address as the destination is")
    return int(found)


def _interface(host: str, pod: Surroundings, *, outbound: bool) -> str:
    own = outbound and (host in pod.texts() or ip_address(host).is_loopback)
    return "lo" if own else next(iter(pod.addresses))


def _protocol(text: str, family: int) -> int:
    if text == "icmp":
        return ICMP if family == 4 else ICMPV6
    return named(text, PROTOCOLS)


def duty(policy: Policy, packet: Packet, pod: Surroundings) -> Duty | None:
    """Return what the document requires of a packet, or None if it leaves it open."""
    if packet.protocol != TCP:
        return UNTOUCHED.get(packet.protocol, UNTOUCHED[UDP])
    flow = Flow(
        packet.direction,
        Address(text_of(packet.destination, packet.family), packet.port),
        uid=packet.uid if packet.direction is Direction.OUTBOUND else None,
        interface=packet.interface,
    )
    return duty_of(policy, flow, signature_of(policy, flow, packet.family, pod), pod.texts())
