"""A foreign rule in each table and chain."""

from __future__ import annotations

from pytest_fsmredir import (
    Address,
    Fate,
    ForeignPrograms,
    ForgedPackets,
    Mesh,
    NestedContainers,
    Place,
    Pod,
    Profile,
    Programmer,
    Section,
    add_foreign_rules,
    forge,
)

section = Section(18, Profile.LIFECYCLE)

# An effect for each chain and table, on what the redirection leaves alone: UDP, the sidecar's own
# connections, and those to the health responder. Rejects, and drops that the sender notices.
FOREIGN = """\
*raw
-A PREROUTING -p udp --dport 5401 -j MARK --set-mark 0x5401
COMMIT
*mangle
-A PREROUTING -p udp --dport 5402 -j MARK --set-mark 0x5402
-A PREROUTING -p tcp --dport 15904 -j MARK --set-mark 0x5403
-A INPUT -p udp --dport 5404 -j MARK --set-mark 0x5404
-A FORWARD -p udp --dport 5405 -j MARK --set-mark 0x5405
-A OUTPUT -p tcp --dport 5406 -m owner --uid-owner 1500 -j MARK --set-mark 0x5406
-A POSTROUTING -p udp --dport 5407 -j DROP
COMMIT
*nat
-A INPUT -p udp --dport 5408 -j SNAT --to-source :25400-25499
-A POSTROUTING -p udp --dport 5409 -j SNAT --to-source :25400-25499
COMMIT
*filter
:INPUT DROP
:FORWARD DROP
:OUTPUT DROP
-A INPUT -m mark --mark 0x5401 -j REJECT
-A INPUT -m mark --mark 0x5402 -j REJECT
-A INPUT -p tcp -m mark --mark 0x5403 -j REJECT --reject-with tcp-reset
-A INPUT -m mark --mark 0x5404 -j REJECT
-A FORWARD -m mark --mark 0x5405 -j REJECT
-A OUTPUT -p tcp -m mark --mark 0x5406 -j REJECT --reject-with tcp-reset
-A FORWARD -p udp --dport 5410 -j REJECT
-A INPUT -p udp ! --dport 5411 -j ACCEPT
-A INPUT ! -p udp -j ACCEPT
-A FORWARD -p udp ! --dport 5411 -j ACCEPT
-A FORWARD ! -p udp -j ACCEPT
-A OUTPUT -p udp ! --dport 5411 -j ACCEPT
-A OUTPUT ! -p udp -j ACCEPT
COMMIT
"""
LEFT_TO_POLICY = 5411
TRANSLATED = range(25400, 25500)
NFTABLES = "a table of nftables"
FOREIGN_TABLE = """\
table inet foreign {
    chain out { type filter hook output priority 5; udp dport 5412 drop; }
}
"""
WHERE_THERE_IS_NFT = "command -v nft >/dev/null || exit 0; exec nft -f -"


def _add_rules(mesh: Mesh, pod: Pod, programs: ForeignPrograms) -> None:
    add_foreign_rules(programs, pod, mesh.family, FOREIGN)
    done = programs.run(pod, ["/bin/sh", "-c", WHERE_THERE_IS_NFT], FOREIGN_TABLE)
    if done.status != 0:
        message = f"a foreign table could not be added: {done.stderr}"
        raise RuntimeError(message)


def _is_translated(fate: Fate) -> bool:
    """Whether a flow seems to come from a port that it was given on its way."""
    return bool(fate.path) and fate.accepted.peer.port in TRANSLATED


def _is_dropped(pod: Pod, forged: ForgedPackets, here: Place, there: Place) -> bool:
    """Whether a datagram that is left to a policy is lost in silence."""
    source, destination = Address(here.address, 20411), Address(there.address, LEFT_TO_POLICY)
    mark = len(pod.acceptances())
    forged.inject(here, forge.udp(source, destination, b"to be dropped"))
    here.datagram(there, 8080)  # comes after it, and is answered when it has been dealt with
    return all(each.local != destination for each in pod.acceptances()[mark:])


def _effects(mesh: Mesh, pod: Pod, forged: ForgedPackets, nested: Place) -> dict[str, object]:
    """Return whether the foreign rules have their effect, true or false, by where they stand."""
    accepted: dict[str, object] = {
        "filter INPUT that accepts": mesh.client.datagram(pod, 8080).direct,
        "filter OUTPUT that accepts": pod.datagram(mesh.server, 8080).direct,
        "filter FORWARD that accepts": nested.datagram(mesh.server, 8080).direct,
    }
    if not all(accepted.values()):
        return accepted  # no more would get through
    pod.datagram(pod, LEFT_TO_POLICY)  # has the pod listen there
    return accepted | {
        "filter OUTPUT policy": pod.datagram(mesh.server, LEFT_TO_POLICY).unanswered,
        "filter INPUT policy": _is_dropped(pod, forged, mesh.client, pod),
        "filter FORWARD policy": _is_dropped(pod, forged, nested, mesh.server),
        "filter FORWARD that rejects": nested.datagram(mesh.server, 5410).unanswered,
        "raw PREROUTING": mesh.client.datagram(pod, 5401).unanswered,
        "mangle PREROUTING": mesh.client.datagram(pod, 5402).unanswered,
        "mangle PREROUTING for TCP": mesh.client.connect(pod, 15904).unanswered,
        "mangle INPUT": mesh.client.datagram(pod, 5404).unanswered,
        "mangle FORWARD": nested.datagram(mesh.server, 5405).unanswered,
        "mangle OUTPUT for TCP": pod.connect(mesh.server, 5406, uid=1500).unanswered,
        "mangle POSTROUTING": pod.datagram(mesh.server, 5407).unanswered,
        "nat INPUT": _is_translated(mesh.client.datagram(pod, 5408)),
        "nat POSTROUTING": _is_translated(pod.datagram(mesh.server, 5409)),
        NFTABLES: pod.datagram(mesh.server, 5412).unanswered,
    }


def _without_effect(effects: dict[str, object]) -> list[str]:
    return [where for where, holds in effects.items() if not holds]


@section.check("COEX-009", "18.1")
def test_foreign_rules_of_every_chain_survive(
    mesh: Mesh,
    programmer: Programmer,
    forged: ForgedPackets,
    programs: ForeignPrograms,
    containers: NestedContainers,
) -> None:
    """Rules of others in any chain, and their policies, MUST keep their effect when the pod is
    programmed, and programmed again."""
    pod = mesh.bare_pod()
    nested = containers.inside(pod)
    _add_rules(mesh, pod, programs)
    absent = _without_effect(_effects(mesh, pod, forged, nested))
    if absent not in ([], [NFTABLES]):  # there may be no nft
        message = f"rules in an unprogrammed pod have no effect: {', '.join(absent)}"
        raise RuntimeError(message)

    for run in ("the pod was programmed", "it was programmed again"):
        programmed = programmer.try_program(pod).accepted
        lost = [
            each
            for each in _without_effect(_effects(mesh, pod, forged, nested))
            if each not in absent
        ]
        assert not lost, f"when {run}, the foreign rules in {', '.join(lost)} lost their effect"
        if programmed:
            assert pod.connect(mesh.server, 8080).captured_outbound
            assert mesh.client.connect(pod, 8080).captured_inbound
