"""Faults of the sidecar's user id: the wrong users are exempt."""

from __future__ import annotations

from tests.mutants.changes import (
    before,
    drop,
    first,
    in_turn,
    match,
    narrow,
    substitute,
    to_end,
    verdict,
)
from tests.mutants.correct import OUT, TO_OUT, Tag
from tests.mutants.mutant import Mutant
from tests.mutants.rules import Rule

_ALL = (Tag.HAIRPIN, Tag.LOCAL, Tag.SIDECAR)


def _uid(new: str) -> Mutant:
    return Mutant(
        name=f"sidecar-is-uid-{new}",
        what=f"the rules exempt uid {new} instead of 1500",
        source={
            "1337": "B30: istio/istio PR 30306; Istio's sidecar uid",
            "1340": "B30: the user of the pipy image",
            "2102": "B30: linkerd's proxy uid",
            "5678": "B30: Kuma's sidecar uid",
            "0": "B29: telepresenceio/telepresence 4156",
        }.get(new, "B29: istio/istio PR 31993; off by one"),
        rules=in_turn(*(substitute(tag, "--uid-owner 1500", f"--uid-owner {new}") for tag in _ALL)),
    )


def _also(name: str, words: str, what: str, source: str) -> Mutant:
    return Mutant(name=name, what=what, source=source, rules=first(Rule("", OUT, words)))


MUTANTS = (
    *(_uid(new) for new in ("1337", "1340", "2102", "5678", "0", "1499", "1501")),
    Mutant(
        name="sidecar-by-group",
        what="the sidecar is recognised by --gid-owner 1500",
        source="B29: istio/istio 4286",
        rules=in_turn(*(substitute(tag, "--uid-owner", "--gid-owner") for tag in _ALL)),
    ),
    Mutant(
        name="sidecar-by-user-and-group",
        what="the sidecar is recognised by uid and gid 1500 together",
        source="B30: istio/istio PR 30306",
        rules=narrow(Tag.SIDECAR, "-m owner --gid-owner 1500"),
    ),
    Mutant(
        name="sidecar-by-mark",
        what="the sidecar is recognised by a mark that it does not set",
        source="merbridge/merbridge PR 163; Istio's TPROXY mode",
        rules=match(Tag.SIDECAR, "-m mark --mark 1337"),
    ),
    Mutant(
        name="sidecar-rule-lost",
        what="the sidecar's own traffic is captured again",
        source="B30: istio/istio PR 30306",
        rules=drop(Tag.SIDECAR),
    ),
    Mutant(
        name="sidecar-rule-after-capture",
        what="the sidecar's rule is after the redirect",
        source="B30: istio/istio PR 30306",
        rules=to_end(Tag.SIDECAR),
    ),
    Mutant(
        name="sidecar-rule-inverted",
        what="every user except the sidecar is exempt",
        source="B29: istio/istio 4286",
        rules=substitute(Tag.SIDECAR, "--uid-owner", "! --uid-owner"),
    ),
    Mutant(
        name="sidecar-spared-when-established",
        what="the sidecar is exempt for established connections only",
        source="B42: istio/istio 35157",
        rules=narrow(Tag.SIDECAR, "-m conntrack --ctstate ESTABLISHED,RELATED"),
    ),
    Mutant(
        name="sidecar-spared-on-web-ports",
        what="the sidecar is exempt on the ports 80, 443 and 8080 only",
        source="B30: a loop on any other port",
        rules=narrow(Tag.SIDECAR, "-p tcp -m multiport --dports 80,443,8080"),
    ),
    Mutant(
        name="sidecar-spared-on-eth0",
        what="the sidecar is exempt on eth0 only",
        source="B11: istio/istio 40326",
        rules=narrow(Tag.SIDECAR, "-o eth0"),
    ),
    Mutant(
        name="sidecar-sent-to-inbound",
        what="the sidecar's own traffic goes to its inbound listener",
        source="B21: istio/istio 14242",
        rules=verdict(Tag.SIDECAR, "MESH_TO_IN"),
    ),
    Mutant(
        name="hairpin-for-everything-of-sidecar",
        what="the sidecar's traffic goes to its inbound listener unless it stays on lo",
        source="B22: istio/istio PR 12110",
        rules=substitute(Tag.HAIRPIN, "-o lo ", "! -o lo "),
    ),
    _also(
        "root-exempt",
        "-m owner --uid-owner 0",
        "uid 0 is exempt as well",
        "B29: telepresenceio/telepresence 4156",
    ),
    _also(
        "system-users-exempt",
        "-m owner --uid-owner 0-999",
        "the uids 0 to 999 are exempt as well",
        "B29: istio/istio 4286",
    ),
    _also(
        "neighbours-exempt",
        "-m owner --uid-owner 1499-1501",
        "the uids 1499 to 1501 are exempt",
        "B29: istio/istio PR 31993",
    ),
    _also(
        "next-users-exempt",
        "-m owner --uid-owner 1500-1510",
        "the uids 1500 to 1510 are exempt",
        "B29: istio/istio PR 31993",
    ),
    _also(
        "application-user-exempt",
        "-m owner --uid-owner 1000",
        "uid 1000 is exempt as well",
        "B29: istio/istio PR 31993",
    ),
    _also(
        "group-exempt-too",
        "-m owner --gid-owner 1500",
        "gid 1500 is exempt as well as uid 1500, as Istio does with 1337",
        "B29: istio/istio 4286",
    ),
    _also(
        "istio-users-exempt",
        "-m owner --uid-owner 1337",
        "uid 1337 is exempt as well",
        "B29: a rule set copied from istio/istio",
    ),
    _also(
        "istio-group-exempt",
        "-m owner --gid-owner 1337",
        "gid 1337 is exempt as well",
        "B29: a rule set copied from istio/istio, which exempts uid and gid",
    ),
    _also(
        "nginx-group-exempt",
        "-m owner --gid-owner 101",
        "gid 101 is exempt as well",
        "B58: the group of nginx and of Envoy's images",
    ),
    _also(
        "distroless-groups-exempt",
        "-m owner --gid-owner 65532-65534",
        "the gids 65532 to 65534 are exempt as well",
        "B58: the unprivileged groups of distroless images",
    ),
    _also(
        "large-groups-exempt",
        "-m owner --gid-owner 100000-4294967294",
        "the gids from 100000 on are exempt as well",
        "B58: groups of user namespaces",
    ),
    Mutant(
        name="sidecar-not-in-group-of-application",
        what="uid 1500 is exempt in groups below 100 only",
        source="B58: istio/istio 4286",
        rules=narrow(Tag.SIDECAR, "-m owner --gid-owner 0-99"),
    ),
    _also(
        "linkerd-users-exempt",
        "-m owner --uid-owner 2102",
        "uid 2102 is exempt as well",
        "B30: linkerd's proxy uid",
    ),
    _also(
        "container-users-exempt",
        "-m owner --uid-owner 65536-4294967294",
        "the uids from 65536 on are exempt, those of user namespaces and of OpenShift",
        "B29: istio/istio 4286",
    ),
    _also(
        "users-of-16-bits",
        "-m owner --uid-owner 67036",
        "uid 67036, which is 1500 in 16 bits, is exempt as well",
        "B29: a uid kept in 16 bits",
    ),
    _also(
        "daemons-exempt",
        "-m owner --uid-owner 33-999",
        "the uids 33 to 999 are exempt as well",
        "B29: istio/istio 4286",
    ),
    Mutant(
        name="root-alone-captured",
        what="only uid 0 is captured",
        source="B29: telepresenceio/telepresence 4156",
        rules=narrow(Tag.CAPTURE_OUT, "-m owner --uid-owner 0"),
    ),
    Mutant(
        name="application-user-alone-captured",
        what="only uid 1000 is captured",
        source="B29: istio/istio PR 31993",
        rules=narrow(Tag.CAPTURE_OUT, "-m owner --uid-owner 1000"),
    ),
    Mutant(
        name="two-redirects-for-root",
        what="uid 0 is sent to the outbound listener before any exclusion",
        source="B35: istio/istio 29639",
        rules=first(Rule("", OUT, "-m owner --uid-owner 0", TO_OUT)),
    ),
    Mutant(
        name="exclusions-not-for-root",
        what="uid 0 is captured before any exclusion, but not inside the pod",
        source="B35: istio/istio 29639",
        rules=in_turn(
            narrow(Tag.RANGE, "-m owner ! --uid-owner 0"),
            narrow(Tag.PORT_OUT, "-m owner ! --uid-owner 0"),
        ),
    ),
    Mutant(
        name="inclusion-not-for-root",
        what="uid 0 is captured despite an inclusion list",
        source="B35: istio/istio 29639",
        rules=before(Tag.INCLUDED, Rule("", OUT, "-m owner --uid-owner 0", TO_OUT)),
    ),
)
