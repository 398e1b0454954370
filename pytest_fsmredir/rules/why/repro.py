"""Write ``repro.sh``: one failed flow and the rules of its pod, in separate namespaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from pytest_fsmredir.model.flow import Direction
from pytest_fsmredir.model.reserved import INBOUND_PORT, OUTBOUND_PORT
from pytest_fsmredir.rules.ends import EndKind
from pytest_fsmredir.rules.packet import TCP, UDP, Packet, headers_of, text_of
from pytest_fsmredir.rules.why.blame import Place
from pytest_fsmredir.rules.why.case import Case
from pytest_fsmredir.rules.why.loaded import Blocks, blocks, routing, without_idle

_SERVICES: Final = {
    TCP: ("SOCK_STREAM", "sock.listen()\n    ", "sock.accept()[0].sendall(who.encode())"),
    UDP: ("SOCK_DGRAM", "", "sock.sendto(who.encode(), sock.recvfrom(99)[1])"),
}
"""The kind of a socket, how it starts to listen, and how it answers, by protocol."""
LINES: Final = 80
"""A script has fewer lines, where rules that the flow does not match can be left out."""
_TRANSPARENT: Final = {
    4: "sock.setsockopt(socket.IPPROTO_IP, 19, 1)  # IP_TRANSPARENT\n    ",
    6: "sock.setsockopt(socket.IPPROTO_IPV6, 75, 1)  # IPV6_TRANSPARENT\n    ",
}
"""The line that lets a listener accept what TPROXY hands to it (linux/in.h, linux/in6.h)."""

_NATIVE: Final = "nft "
"""What the origin of a chain of ``nft list ruleset`` begins with."""

_SCRIPT: Final = r"""#!/bin/sh
# {title}
# {why}
# Loads the rules into a network namespace and sends one flow. Exit status: 1 the bug is there,
# 0 it is gone, 2 no result. Needs root, or a range in /etc/subuid; {programs}, python3.
set -eu
self=$(readlink -f "$0")
[ "$(id -u)" = 0 ] || rootless='-r --map-auto'
[ "${{1:-}}" = inside ] || exec unshare ${{rootless:-}} -mn sh "$self" inside
trap 'kill $(cat /run/pids) 2>/dev/null; exit ${{status:-2}}' EXIT
mount -t tmpfs tmpfs /run
export XTABLES_LOCKFILE=/run/xtables.lock
ip netns add world  # the other end of the link; the pod is this namespace
ip link add {device} type veth peer name pod netns world
{addresses}
ip link set lo up; ip link set {device} up; ip -n world link set pod up
{routes}
{rules}
cat >/run/flow.py <<'PYTHON'
import os, socket, sys
version, kind = socket.{version}, socket.{kind}
def listen(who, host, port):
    sock = socket.socket(version, kind)
    {transparent}sock.bind((host, int(port)))
    {listen}if pid := os.fork():
        return print(pid, file=open("/run/pids", "a"))
    while True:
        {answer}
def send(host, port, source, own_port, uid, gid):
    os.setgroups([]), os.setegid(int(gid)), os.seteuid(int(uid))
    sock = socket.socket(version, kind)
    os.seteuid(0)  # the socket keeps its owner
    sock.settimeout(2)
    try:
        {settings}sock.bind((source, int(own_port)))
        sock.connect((host, int(port)))
        sock.send({data})
        print(sock.recv(99).decode())
    except OSError as error:
        print(error)
dict(listen=listen, send=send)[sys.argv[1]](*sys.argv[2:])
PYTHON
{listeners}
seen=$({sender})
echo "flow: {flow}; expected: {expected}; seen: $seen"
status=0; [ "$seen" = '{expected}' ] || status=1
"""


def native_tables(case: Case) -> list[tuple[str, str]]:
    """Return the tables that no program of iptables lists: (family, name)."""
    return sorted(
        {
            (chain.origin.removeprefix(_NATIVE), chain.table)
            for chain in case.rules.chains.values()
            if chain.origin.startswith(_NATIVE) and case.family in chain.families
        }
    )


def repro(
    case: Case, why: str, listings: Mapping[str, str], title: str, places: Sequence[Place] = ()
) -> str | None:
    """Return the script that shows a failure without this package.

    Args:
        case: The flow, its pod and the required fate.
        why: Why the flow fails, in one sentence.
        listings: The output of the save programs in the pod, by name, such as ``iptables4 nft``;
            ``native`` is the text of :func:`native_tables`.
        title: The check and its title.
        places: The rules that ``why`` names; they are never left out.

    Returns:
        The script; None for a flow that it cannot send, or for rules that are not of iptables.
    """
    packet = case.sending.packet
    loaded = blocks(listings, packet.family)
    wanted = case.sending.wanted
    visible = case.end is not wanted and EndKind.CHANGED is not case.end
    usual = packet.protocol in (TCP, UDP) and wanted is not EndKind.ELSEWHERE
    if not (loaded and visible and usual):
        return None
    script = _script(case, why, loaded, listings, title)
    if script.count("\n") >= LINES:
        loaded, left_out = without_idle(loaded, case, places)
        if left_out:
            title += f"\n# {left_out} rules that this flow does not match are left out"
            script = _script(case, why, loaded, listings, title)
    return script


def _script(case: Case, why: str, loaded: Blocks, listings: Mapping[str, str], title: str) -> str:
    packet = case.sending.packet
    kind, listen, answer = _SERVICES[packet.protocol]
    transparent = any("TPROXY" in text or "tproxy" in text for text in loaded.values())
    return _SCRIPT.format(
        title="\n".join(map(_comment, title.split("\n"))),
        why=_comment(why),
        programs=", ".join(command.split()[0] for command in loaded),
        rules="\n".join(f"{command} <<'RULES'\n{text}\nRULES" for command, text in loaded.items()),
        device=_device(case),
        version="AF_INET" if packet.family == 4 else "AF_INET6",
        kind=kind,
        listen=listen,
        answer=answer,
        transparent=_TRANSPARENT[packet.family] if transparent else "",
        **_network(case, routing(listings, packet.family)),
        **_traffic(case),
        flow=_comment(str(packet)).replace('"', ""),
        expected=case.sending.wanted.value,
    )


def _comment(text: str) -> str:
    return " ".join(text.split())


def _device(case: Case) -> str:
    packet = case.sending.packet
    return next(iter(case.pod.addresses)) if packet.interface == "lo" else packet.interface


def _network(case: Case, more: Sequence[str]) -> dict[str, str]:
    """Return the commands that give addresses and routes to both ends of the link."""
    packet, device = case.sending.packet, _device(case)
    width = 32 if packet.family == 4 else 128
    nodad = " nodad" if packet.family == 6 else ""
    own = [a for a in case.pod.addresses.get(device, ()) if (":" in a) == (packet.family == 6)]
    remote = _remote(packet)
    version = f"-{packet.family}"
    addresses = [f"ip addr add {text}/{width} dev {device}{nodad}" for text in own]
    addresses.append(f"ip -n world addr add {remote}/{width} dev pod{nodad}")
    routes = [f"ip {version} route add {remote}/{width} dev {device}"]
    routes += [f"ip -n world {version} route add {text}/{width} dev pod" for text in own]
    return {"addresses": "\n".join(addresses), "routes": "\n".join([*routes, *more])}


def _remote(packet: Packet) -> str:
    """Return the address at the other end of the link."""
    if packet.interface == "lo":
        return "203.0.113.20" if packet.family == 4 else "2001:db8:c::20"
    outbound = packet.direction is Direction.OUTBOUND
    return text_of(packet.destination if outbound else packet.source, packet.family)


def _traffic(case: Case) -> dict[str, str]:
    """Return the commands that listen and send."""
    packet = case.sending.packet
    anywhere = "0.0.0.0" if packet.family == 4 else "::"  # noqa: S104 - of a script
    to = text_of(packet.destination, packet.family)
    outbound = packet.direction is Direction.OUTBOUND
    inside = packet.interface == "lo" or not outbound
    world = "ip netns exec world "
    python = "python3 /run/flow.py"
    listeners = [f"{'' if inside else world}{python} listen direct {to} {packet.port}"]
    if packet.port not in (OUTBOUND_PORT, INBOUND_PORT):
        listeners += [
            f"{python} listen '{kind.value}' {anywhere} {port}"
            for kind, port in (
                (EndKind.CAPTURED_OUTBOUND, OUTBOUND_PORT),
                (EndKind.CAPTURED_INBOUND, INBOUND_PORT),
            )
        ]
    source = text_of(packet.source, packet.family)
    if outbound and source not in case.pod.addresses.get(_device(case), ()):
        source = ""
    uid, gid = (packet.uid, packet.gid) if outbound else (0, 0)
    arguments = f"{to} {packet.port} '{source}' {case.sending.port} {uid} {gid}"
    sender = f"{'' if outbound else world}{python} send {arguments}"
    return {
        "listeners": "\n".join(listeners),
        "sender": sender,
        "settings": _settings(packet),
        "data": _data(packet),
    }


def _data(packet: Packet) -> str:
    """Return what the script sends; a datagram has the packet's length."""
    if packet.protocol == TCP:
        return 'b"?"'
    return f'b"?" * {max(packet.length - headers_of(packet.protocol, packet.family), 0)}'


def _settings(packet: Packet) -> str:
    """Return the line that gives a socket its mark, its service class and its TTL."""
    v4 = packet.family == 4
    level = "socket.IPPROTO_IP" if v4 else "socket.IPPROTO_IPV6"
    options: list[tuple[str, str, int | str]] = []
    if packet.mark:
        options.append(
            (
                "socket.SOL_SOCKET",
                "socket.SO_MARK",
                f"({packet.mark:#x}).to_bytes(4, sys.byteorder)",
            )
        )
    if packet.tos:
        options.append((level, "socket.IP_TOS" if v4 else "socket.IPV6_TCLASS", packet.tos))
    if packet.ttl != 64:
        options.append((level, "socket.IP_TTL" if v4 else "socket.IPV6_UNICAST_HOPS", packet.ttl))
    lines = [f"sock.setsockopt({a}, {b}, {value})" for a, b, value in options]
    return "".join(f"{line}; " for line in lines)
