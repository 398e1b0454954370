"""Have the kernel track the connections of a pod that has no rules."""

from __future__ import annotations

from pytest_fsmredir import procs
from pytest_fsmredir.backends.netns.namespace import Namespace
from pytest_fsmredir.backends.netns.programs import program_of
from pytest_fsmredir.implementations.base import IptablesVariant

# A pod forwards nothing, so its packets pass no rule. A rule that asks for the state of connections
# is enough: the kernel then tracks every packet of the namespace (nf_ct_netns_get).
_NATIVE = """\
table {family} tracking {{
    chain forward {{ type filter hook forward priority 0; ct state invalid accept; }}
}}
"""
_IPTABLES = ["-A", "FORWARD", "-m", "conntrack", "--ctstate", "INVALID", "-j", "ACCEPT"]


def track_connections(namespace: Namespace, iptables: IptablesVariant, family: int) -> None:
    """Make the kernel track the connections of a namespace, without a rule on their way.

    Args:
        namespace: The namespace of a pod.
        iptables: The variant of the rule.
        family: IP version.

    Raises:
        CommandError: The kernel does not accept the rule.
        PreflightError: The program is not installed.
    """
    program = program_of(iptables, family)
    if iptables is IptablesVariant.NATIVE:
        rules = _NATIVE.format(family={4: "ip", 6: "ip6"}[family])
        namespace.run(lambda: procs.run([program, "-f", "-"], stdin=rules))
    else:
        namespace.run(lambda: procs.run([program, *_IPTABLES]))
