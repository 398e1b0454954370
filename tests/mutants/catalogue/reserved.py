"""Faults of FSM's reserved ports: exemptions that are missing, too wide or misplaced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from pytest_fsmredir.backends.netns.wiring import NODE
from pytest_fsmredir.model.policy import ListName, Policy
from tests.mutants.changes import (
    copied,
    drop,
    drop_matching,
    each,
    first,
    match,
    narrow_for,
    substitute,
    when,
)
from tests.mutants.correct import IN, NEVER_OPEN, OUT, RESERVED_PORTS, Tag
from tests.mutants.mutant import Mutant
from tests.mutants.policies import items
from tests.mutants.rules import Rule

_FOREIGN_MESHES = {
    "istio": "15020,15021,15090",
    "istio-more": "15002,15004,15008,15009,15053",
    "linkerd": "4143,4190,4191",
    "linkerd-skipped": "25,587,3306,4444,5432,6379,9300,11211",
    "consul": "19000,20000,21500",
    "kuma": "5680,5681,9901",
    "osm": "15128",
    "pipy-admin": "6060",
    "ssh": "22",
    "fsm-uid": "1500",
    "highest": "65535",
    "lowest": "1",
    "kubernetes-api": "6443",
    "bgp": "179",
    "mongodb": "27017",
    "istiod": "15014",
}


def _without(port: int) -> Mutant:
    return Mutant(
        name=f"reserved-{port}-captured",
        what=f"inbound port {port} has no exemption",
        source="OSM before 1.1" if port == 15904 else "B08: istio/istio 23970, merbridge PR 163",
        rules=drop_matching(f"--dport {port}"),
    )


def _wide(name: str, port: int, ports: str, source: str) -> Mutant:
    return Mutant(
        name=name,
        what=f"the exemption of inbound port {port} covers {ports}",
        source=source,
        rules=substitute(Tag.RESERVED, f"--dport {port}", f"--dport {ports}"),
    )


def _hidden(mesh: str, direction: str) -> Mutant:
    source = "B48: kubevirt/kubevirt PR 6923; " if mesh == "ssh" else "B56: linkerd/linkerd2 5571; "
    words = f"-p tcp -m multiport --dports {_FOREIGN_MESHES[mesh]}"
    return Mutant(
        name=f"{direction}-{mesh}-ports-exempt",
        what=f"{direction} ports {_FOREIGN_MESHES[mesh]} are exempt by default",
        source=f"{source}a list that outlived its reason",
        rules=first(Rule("", IN if direction == "inbound" else OUT, words)),
    )


def _open(port: int, source: str) -> Mutant:
    return Mutant(
        name=f"inbound-{port}-open",
        what=f"inbound port {port} is exempt",
        source=source,
        rules=first(Rule("", IN, f"-p tcp --dport {port}")),
    )


def _outbound(name: str, ports: str, source: str) -> Mutant:
    return Mutant(
        name=name,
        what=f"outbound ports {ports} are exempt",
        source=source,
        rules=first(Rule("", OUT, f"-p tcp -m multiport --dports {ports}")),
    )


def _opened(name: str, given: Callable[[Policy], object]) -> Iterator[Mutant]:
    """Open a port of the sidecar if a list is given; 15003 has its own listener anyway."""
    for port in (15000, 15001):
        yield Mutant(
            name=f"{name}-open-{port}",
            what=f"inbound port {port} is exempt in a pod with {name.replace('-', ' ')}",
            source="B67; F06",
            rules=when(
                lambda case: given(case.policy), first(Rule("", IN, f"-p tcp --dport {port}"))
            ),
        )


MUTANTS = (
    *_opened("excluded-inbound-ports", lambda policy: policy.inbound_port_exclusion_list),
    *_opened("excluded-outbound-ports", lambda policy: policy.outbound_port_exclusion_list),
    *_opened("excluded-ranges", lambda policy: policy.outbound_ip_range_exclusion_list),
    *_opened("included-ranges", lambda policy: policy.outbound_ip_range_inclusion_list),
    *_opened("excluded-interfaces", lambda policy: policy.network_interface_exclusion_list),
    Mutant(
        name="inbound-ports-lose-reserved",
        what="the reserved ports lose their exemption where inbound ports are excluded",
        source="B09: istio/istio 38415; one list in place of the other",
        rules=when(lambda case: case.policy.inbound_port_exclusion_list, drop(Tag.RESERVED)),
    ),
    Mutant(
        name="inbound-ports-exempt-reserved-outbound",
        what="a list of inbound ports exempts 15000, 15001 and 15003 of other hosts",
        source="B67, in the other direction",
        rules=when(
            lambda case: case.policy.inbound_port_exclusion_list,
            first(Rule("", OUT, "-p tcp -m multiport --dports 15000,15001,15003")),
        ),
    ),
    *(_without(port) for port in RESERVED_PORTS),
    Mutant(
        name="reserved-all-captured",
        what="no reserved port has an exemption",
        source="B08: istio/istio 23970",
        rules=drop(Tag.RESERVED),
    ),
    _wide("reserved-one-below", 15901, "15900:15901", "off by one"),
    _wide("reserved-one-above", 15904, "15904:15905", "off by one"),
    _wide("reserved-hundred", 15901, "15900:15999", "B08: a list written as a range"),
    _wide("reserved-metrics-one-below", 15010, "15009:15010", "off by one"),
    _wide("reserved-metrics-one-above", 15010, "15010:15011", "off by one"),
    _wide("reserved-as-range", 15010, "15010:15904", "B03: a list turned into a range"),
    _wide("reserved-from-15000", 15010, "15000:15010", "B49: istio/istio.io PR 17303"),
    Mutant(
        name="reserved-by-source-port",
        what="the exemptions match the client's port instead of the pod's",
        source="B38: source for destination",
        rules=substitute(Tag.RESERVED, "--dport", "--sport"),
    ),
    Mutant(
        name="reserved-by-either-port",
        what="the exemptions match the client's port as well: any client can bypass the sidecar",
        source="B38: -m multiport --ports instead of --dports",
        rules=first(
            Rule("", IN, "-p tcp -m multiport --ports 15010,15901,15902,15903,15904"),
        ),
    ),
    Mutant(
        name="reserved-outbound-too",
        what="the exemptions hold outbound as well: those ports of other hosts leak",
        source="F04: FSM's dead rule, had it stood before the redirect",
        rules=copied(Tag.RESERVED, OUT),
    ),
    Mutant(
        name="reserved-outbound-instead",
        what="the exemptions are in the outbound chain",
        source="B08: wrong chain",
        rules=each(Tag.RESERVED, lambda rule: replace(rule, chain=OUT)),
    ),
    Mutant(
        name="reserved-from-cluster-only",
        what="the exemptions hold for the node's address only: other probes are captured",
        source="B46: linkerd/linkerd2 7777",
        rules=narrow_for(Tag.RESERVED, lambda case: f"-s {NODE[case.family]}"),
    ),
    _open(15000, "B49: istio/istio.io PR 17303; F06"),
    _open(15001, "B21: istio/istio 14443"),
    _open(15002, "off by one; Istio's telemetry port"),
    _open(15005, "catalogue IN-REDIR-002"),
    _open(15009, "off by one"),
    _open(15011, "off by one"),
    _open(15900, "off by one"),
    _open(15905, "off by one"),
    _outbound("outbound-15000-open", "15000", "F04: FSM's dead ACCEPT, had it been alive"),
    _outbound("outbound-listeners-open", "15001,15003", "catalogue OUT-REDIR-016"),
    _outbound("outbound-probes-open", "15901,15902,15903", "catalogue OUT-REDIR-016"),
    _outbound("outbound-health-open", "15904", "catalogue OUT-REDIR-016"),
    _outbound("outbound-metrics-open", "15010", "B08: scraping other pods past the sidecar"),
    Mutant(
        name="outbound-exclusion-of-reserved-ignored",
        what="outbound exclusions of 15000, 15001, 15003, 15010 and 15901 to 15904 are ignored",
        source="F06, taken for both directions",
        policy=items(
            ListName.OUTBOUND_PORT_EXCLUSION,
            lambda ports: tuple(p for p in ports if p not in (*NEVER_OPEN, *RESERVED_PORTS)),
        ),
    ),
    *(
        _hidden(mesh, direction)
        for mesh in _FOREIGN_MESHES
        for direction in ("inbound", "outbound")
    ),
    Mutant(
        name="inbound-ephemeral-exempt",
        what="inbound ports from 32768 are exempt",
        source="B56: linkerd/linkerd2 5571",
        rules=first(Rule("", IN, "-p tcp --dport 32768:")),
    ),
    Mutant(
        name="outbound-ephemeral-exempt",
        what="outbound ports from 32768 are exempt",
        source="B56: linkerd/linkerd2 5571",
        rules=first(Rule("", OUT, "-p tcp --dport 32768:")),
    ),
    Mutant(
        name="inbound-privileged-exempt",
        what="inbound ports below 1024 are exempt",
        source="B48: kumahq/kuma-website 1375",
        rules=first(Rule("", IN, "-p tcp --dport :1023")),
    ),
    Mutant(
        name="outbound-privileged-exempt",
        what="outbound ports below 1024 are exempt",
        source="B48: kumahq/kuma-website 1375",
        rules=first(Rule("", OUT, "-p tcp --dport :1023")),
    ),
    Mutant(
        name="outbound-web-only",
        what="only the outbound ports 80, 443 and 8080 are captured",
        source="B56: a default list of ports to capture",
        rules=match(Tag.HOOK_OUT, "-p tcp -m multiport --dports 80,443,8080"),
    ),
    Mutant(
        name="inbound-web-only",
        what="only the inbound ports 80, 443 and 8080 are captured",
        source="B09: istio/istio 38588",
        rules=match(Tag.HOOK_IN, "-p tcp -m multiport --dports 80,443,8080"),
    ),
    Mutant(
        name="inbound-listening-only",
        what="capture takes only inbound ports that applications are known to use",
        source="B09: istio/istio 30280; capture by container ports",
        rules=match(Tag.HOOK_IN, "-p tcp -m multiport --dports 1:15000,15001:15999"),
    ),
)
