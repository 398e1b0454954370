"""What the comparison shows: capabilities in a user's words, and the implementations with reports.

Both are data. A difference by design names what the mesh documents instead, and where.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Capability:
    """One row.

    Attributes:
        words: What a user would call it.
        checks: The checks that show it. Each links to its requirement.
    """

    words: str
    checks: tuple[str, ...]


@dataclass(frozen=True)
class Difference:
    """What an implementation documents otherwise.

    Attributes:
        words: What it does instead.
        source: Where that is written.
    """

    words: str
    source: str


@dataclass(frozen=True)
class Subject:
    """One column.

    Attributes:
        folder: The folder of its report below ``docs/reports/``.
        name: What the column is called.
        how: How it was had and run, in Markdown.
        differences: What it documents otherwise, by the words of the capability.
    """

    folder: str
    name: str
    how: str
    differences: Mapping[str, Difference] = field(default_factory=dict)


GROUPS: Mapping[str, tuple[Capability, ...]] = {
    "Capture": (
        Capability("Outbound TCP to every address and port", ("OUT-001", "OUT-002", "OUT-004")),
        Capability("Inbound TCP to every port", ("IN-001", "IN-002")),
        Capability("Every user but the sidecar's, root included", ("UID-004", "UID-005")),
        Capability("The sidecar learns the original destination", ("OUT-005", "IN-005")),
        Capability("A second interface and address", ("OUT-018", "OUT-019", "IN-009", "IN-010")),
        Capability("IPv6", ("V6-001", "V6-002")),
        Capability("No sidecar, no traffic", ("LIFE-001", "LIFE-002")),
    ),
    "Left alone": (
        Capability("The sidecar's own connections, without a loop", ("UID-001", "UID-002")),
        Capability("UDP and ICMP", ("PROTO-001", "PROTO-002", "PROTO-004", "PROTO-020")),
        Capability("localhost", ("LO-001", "LO-016")),
        Capability("Own pod by address", ("LO-002", "LO-019")),
        Capability("Health probes and metrics", ("RES-004", "RES-005", "RES-006", "RES-008")),
        Capability("Rules of other programs", ("COEX-001", "COEX-005", "COEX-009")),
    ),
    "Inside the pod": (
        Capability("Own pod by Service", ("LO-007",)),
        Capability("The sidecar's call to its own pod", ("LO-005",)),
        Capability("Admin port closed to the outside", ("RES-001", "RES-003")),
    ),
    "Lists": (
        Capability("Excluded outbound ports", ("OPX-001", "OPX-002", "OPX-003")),
        Capability("Excluded inbound ports", ("IPX-001", "IPX-002", "IPX-010")),
        Capability("More than 15 excluded ports", ("OPX-005", "IPX-005")),
        Capability("Excluded ranges", ("OIX-001", "OIX-002", "OIX-003")),
        Capability("Hundreds of excluded ranges", ("OIX-004",)),
        Capability("Included ranges", ("OII-001", "OII-002", "OII-003")),
        Capability("An exclusion inside an included range", ("PREC-001", "PREC-002")),
        Capability("Excluded interfaces", ("MULTI-001", "MULTI-003")),
        Capability("Excluding the sidecar's own ports opens nothing", ("RES-013",)),
    ),
    "Mistakes": (
        Capability("A bad port is refused", ("CFG-006", "CFG-013", "CFG-024")),
        Capability("A bad range is refused", ("CFG-007", "CFG-014")),
        Capability("A port such as 0443 keeps its meaning", ("CFG-022",)),
        Capability("A refused list leaves the old rules", ("INIT-012",)),
    ),
    "Second run": (
        Capability("Equal lists change nothing", ("INIT-002",)),
        Capability(
            "New lists replace the old ones, or the run is refused", ("INIT-003", "INIT-013")
        ),
        Capability("Nothing leaks meanwhile", ("INIT-019",)),
        Capability("A killed run leaves all rules or none", ("INIT-011",)),
        Capability("The run after a killed one is complete", ("INIT-005",)),
    ),
}
"""The rows, by the heading of their table."""

_ISTIO_VALIDATES = Difference(
    "the injection webhook refuses the annotation before the tool runs",
    "`pkg/kube/inject/validate.go` of istio/istio",
)
_LINKERD_SUBNETS = Difference(
    "`--subnets-to-ignore` exempts inbound connections by the range of the client",
    "`proxy-init/cmd/root.go` and `pkg/iptables/iptables.go` of linkerd/linkerd2-proxy-init",
)

SUBJECTS = (
    Subject(
        "reference",
        "Reference",
        "The reference implementation of this project.",
    ),
    Subject(
        "fsm",
        "FSM",
        "The rule order and the validation of FSM 1.4.17 and later, written again as a shell"
        " script: [`tests/neutral/fsm_current.sh`](../tests/neutral/fsm_current.sh).",
    ),
    Subject(
        "four-chains",
        "Four chains",
        "The four chains that the document names, with the rules of Open Service Mesh 0.7 to"
        " 1.0.0-rc.2, written again as a shell script:"
        " [`four-chains.sh`](reports/four-chains/four-chains.sh). These releases do not have the"
        " port 15904, which the document reserves; most failures come from that.",
    ),
    Subject(
        "istio",
        "Istio",
        "The package `tools/istio-iptables/pkg/cmd` of istio/istio, commit 56df41f63e51, which"
        " `pilot-agent istio-iptables` calls. A program that only calls it stood for the command,"
        " by [its adapter](../fixtures/adapters/istio-iptables.sh).",
        {"A bad port is refused": _ISTIO_VALIDATES},
    ),
    Subject(
        "linkerd",
        "Linkerd",
        "`linkerd2-proxy-init`, built from commit c05c9c9296d0 of linkerd/linkerd2-proxy-init, by"
        " [its adapter](../fixtures/adapters/linkerd2-proxy-init.sh).",
        {
            "Excluded ranges": _LINKERD_SUBNETS,
            "Hundreds of excluded ranges": _LINKERD_SUBNETS,
        },
    ),
    Subject(
        "kuma",
        "Kuma",
        "The command `kumactl install transparent-proxy`, built alone from commit 0c7aaec033b7 of"
        " kumahq/kuma, by [its adapter](../fixtures/adapters/kumactl.sh).",
    ),
    Subject(
        "consul",
        "Consul",
        "The package `sdk/iptables` of hashicorp/consul, release sdk/v0.18.1, which"
        " `consul connect redirect-traffic` calls. A program with the options of that command"
        " stood for the command, by [its adapter](../fixtures/adapters/consul.sh). It did not ask"
        " for the rules of IPv6 that the package also has.",
    ),
)
"""The columns, in order."""
