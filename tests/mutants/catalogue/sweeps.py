"""Addresses and ports that are exempt or captured without any setting."""

from __future__ import annotations

from tests.mutants.changes import first, for_family, made, narrow
from tests.mutants.correct import IN, OUT, Tag
from tests.mutants.mutant import Mutant
from tests.mutants.rules import Rule

_GATEWAY = {4: "169.254.1.1", 6: "fe80::1"}


def _spared(name: str, v4: str, v6: str, what: str, source: str) -> Mutant:
    return Mutant(
        name=f"outbound-exempts-{name}",
        what=f"{what} is exempt",
        source=source,
        rules=made(lambda case: (Rule("", OUT, f"-d {v4 if case.family == 4 else v6}"),)),
    )


def _sidecar(name: str, v4: str, v6: str, what: str) -> Mutant:
    return Mutant(
        name=f"sidecar-spared-{name}",
        what=f"uid 1500 is exempt {what} only",
        source="B62: the sidecar loops elsewhere",
        rules=lambda rules, case: narrow(Tag.SIDECAR, v4 if case.family == 4 else v6)(rules, case),
    )


def _refused(name: str, words: str, what: str, kind: str = "REJECT") -> Mutant:
    return Mutant(
        name=f"loopback-{name}",
        what=what,
        source="B27: a rule on lo",
        rules=first(Rule("", "INPUT", f"-i lo -p tcp {words}", kind, table="filter")),
    )


MUTANTS = (
    _spared(
        "node-dns",
        "169.254.20.10",
        "fd00:ec2::253",
        "the resolver of the node",
        "B57: node-local-dns of Kubernetes",
    ),
    _spared(
        "cloud-agent", "168.63.129.16", "fd20:ce::254", "the agent of a cloud", "B57: Azure's agent"
    ),
    _spared("link-local", "169.254.0.0/16", "fe80::/10", "what is link-local", "B57, B61"),
    Mutant(
        name="outbound-exempts-gateway",
        what="the default gateway is exempt",
        source="B57: rules made of the pod's routes",
        rules=made(lambda case: (Rule("", OUT, f"-d {_GATEWAY[case.family]}"),)),
    ),
    Mutant(
        name="outbound-exempts-second-route",
        what="the first address behind the second interface is exempt",
        source="B57: rules made of the pod's routes",
        rules=made(
            lambda case: (
                Rule("", OUT, f"-d {'198.19.0.0' if case.family == 4 else '2001:db8:ffff::'}"),
            )
        ),
    ),
    Mutant(
        name="inbound-exempts-link-local",
        what="IPv6 clients at link-local addresses reach the application",
        source="B61: neighbour discovery read as a range",
        rules=for_family(6, first(Rule("", IN, "-s fe80::/10"))),
    ),
    Mutant(
        name="inbound-exempts-own-link-local",
        what="the pod's own link-local address is not captured inbound",
        source="B61: neighbour discovery read as a range",
        rules=for_family(6, first(Rule("", IN, "-d fe80::/10"))),
    ),
    Mutant(
        name="sidecar-captured-link-local",
        what="the sidecar's connections to link-local addresses are captured",
        source="B61, B62",
        rules=for_family(6, narrow(Tag.SIDECAR, "! -d fe80::/10")),
    ),
    _sidecar(
        "on-low-ports", "-p tcp --dport 0:32767", "-p tcp --dport 0:32767", "up to port 32767"
    ),
    _sidecar(
        "except-1024", "-p tcp ! --dport 1024", "-p tcp ! --dport 1024", "except on port 1024"
    ),
    _sidecar("in-clusters", "-d 0.0.0.0/1", "-d 2000::/3", "in one half of the addresses"),
    _sidecar(
        "except-metadata", "! -d 169.254.169.254", "! -d fd00:ec2::254", "except to the metadata"
    ),
    _refused("high-ports-refused", "--dport 61000:65535", "local ports above 61000 are refused"),
    _refused("one-port-dropped", "--dport 8126", "the local port of an agent is dropped", "DROP"),
    _refused("ephemeral-edge-refused", "--dport 60999", "the last ephemeral port is refused"),
    Mutant(
        name="loopback-refused-to-sidecar",
        what="the sidecar's connections to local ports from 49152 on are refused",
        source="B62",
        rules=first(
            Rule(
                "",
                "OUTPUT",
                "-o lo -p tcp --dport 49152:65535 -m owner --uid-owner 1500",
                "REJECT",
                table="filter",
            )
        ),
    ),
    Mutant(
        name="own-address-high-ports-refused",
        what="the pod's own address refuses its applications on ports from 32768 on",
        source="B26: istio/istio 12551",
        rules=made(
            lambda case: (
                Rule(
                    "",
                    "OUTPUT",
                    f"-p tcp --dport 32768:65535 -d {case.addresses[0]}",
                    "REJECT",
                    table="filter",
                ),
            )
        ),
    ),
)
