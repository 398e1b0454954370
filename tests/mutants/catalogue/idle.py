"""Idle connections that connection tracking forgets, or that are cut off."""

from __future__ import annotations

from tests.mutants.loading import followed_by
from tests.mutants.mutant import Mutant

_HOOKS = {"out": "output", "in": "prerouting"}
_POLICIES = {
    "open": "established : 2",
    "half-closed": "fin_wait : 1, close_wait : 1",
    "early": "established : 12, close_wait : 12",
}


def _forgetting(family: str, hook: str, policy: str) -> str:
    """Return a shell line that makes connection tracking forget idle connections."""
    return (
        f"nft 'table {family} idle {{"
        f" ct timeout short {{ protocol tcp; policy = {{ {policy} }}; }};"
        f" chain c {{ type filter hook {hook} priority -150;"
        ' meta l4proto tcp ct timeout set "short"; }; }\''
    )


def _reaping(family: str, kind: str) -> str:
    """Return a shell line that drops packets of connections after a second of silence."""
    address = "ip" if family == "ip" else "ip6"
    key = f"{address} saddr . tcp sport . {address} daddr . tcp dport"
    return (
        f"nft 'table {family} reaper {{ set live {{ type {kind} . inet_service . {kind} ."
        " inet_service; flags dynamic,timeout; timeout 1s; };"
        " chain i { type filter hook input priority 0; meta l4proto != tcp accept;"
        f" tcp flags & (syn | rst) != 0 update @live {{ {key} }} accept;"
        f" {key} @live update @live {{ {key} }} accept; drop; }}; }}'"
    )


def _mutant(name: str, what: str, *lines: str, argument: str = "") -> Mutant:
    # A second run finds the table, and adding the rule again changes nothing.
    load = followed_by(*(f"{line} 2>/dev/null || :" for line in lines))
    return Mutant(name=name, what=what, source="B63", load=load, argument=argument)


MUTANTS = (
    *(
        _mutant(
            f"idle-{state}-forgotten-{way}-v{4 if family == 'ip' else 6}",
            f"tracking forgets {state} connections that are idle ({policy}), {way}, {family}",
            _forgetting(family, hook, policy),
        )
        for state, policy in _POLICIES.items()
        for way, hook in _HOOKS.items()
        for family in ("ip", "ip6")
        if state != "early" or (way, family) == ("in", "ip")
    ),
    _mutant(
        "idle-reaped-v4",
        "packets of a connection that was silent for a second are dropped",
        _reaping("ip", "ipv4_addr"),
    ),
    _mutant(
        "idle-reaped-v6",
        "packets of an IPv6 connection that was silent for a second are dropped",
        _reaping("ip6", "ipv6_addr"),
    ),
    _mutant(
        "same-idle-for-an-hour",
        "tracking forgets connections that are idle for an hour, or half-closed for a minute",
        *(
            _forgetting(family, hook, "established : 3600, fin_wait : 60, close_wait : 60")
            for family in ("ip", "ip6")
            for hook in ("output",)
        ),
        argument="SPEC-15.7 speaks of seconds",
    ),
)
