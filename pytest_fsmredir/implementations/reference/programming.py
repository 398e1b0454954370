"""Load, replace and remove the reference rules of a pod."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from ipaddress import ip_address
from typing import Final

from pytest_fsmredir.errors import ConfigurationError, tail
from pytest_fsmredir.implementations.base import IptablesVariant, Refused, Run, Target
from pytest_fsmredir.implementations.reference import native
from pytest_fsmredir.implementations.reference.rules import (
    NOTHING,
    Family,
    RuleSet,
    RuleSets,
    SidecarPorts,
    Table,
    creation,
    read_back,
    reject_unsupported,
    rule_sets,
    transition,
)
from pytest_fsmredir.model.features import ALL_FEATURES
from pytest_fsmredir.model.policy import Policy

LOCK_WAIT_S: Final = 5
"""Seconds that a restore waits for the xtables lock (legacy; the nft programs take no lock).

At most four restores of a pod wait. Their total is below the contract's deadline of 30 s.
"""


class Reference:
    """The built-in implementation: redirection by iptables or nft, IPv4 and IPv6, every list.

    It programs the families of the pod's addresses. A pod can be programmed again at any time. The
    new configuration replaces the old one, and foreign rules do not change.
    """

    name = "reference"
    features = ALL_FEATURES

    def program(self, target: Target) -> None:
        """Program one pod.

        Raises:
            Refused: The configuration cannot be honoured, or the rules were rejected. The pod is
                unchanged.
        """
        try:
            policy = target.configuration.policy()
        except ConfigurationError as why:
            raise Refused(str(why)) from None
        families = families_of(target.addresses)
        apply(policy, SidecarPorts(), families, target.run, target.iptables)

    def remove(self, target: Target) -> None:
        """Remove from a pod what :meth:`program` added.

        Raises:
            Refused: The rules could not be listed or changed.
        """
        remove(families_of(target.addresses), target.run, target.iptables)


def families_of(addresses: Iterable[str]) -> tuple[Family, ...]:
    """Return the families of some addresses, IPv4 first.

    Raises:
        ValueError: A text is not an IP address.
    """
    return tuple(sorted({Family(ip_address(address).version) for address in addresses}))


def apply(
    policy: Policy,
    sidecar: SidecarPorts,
    families: Collection[Family],
    run: Run,
    variant: IptablesVariant = IptablesVariant.NFT,
) -> None:
    """Replace the rules of some families with those of a policy: all families, or none.

    Raises:
        Refused: Nothing was changed, or the changes were reverted.
    """
    if variant is IptablesVariant.NATIVE:
        native.apply(policy, sidecar, families, run)
        return
    try:
        reject_unsupported(policy, sidecar)
    except ConfigurationError as why:
        raise Refused(str(why)) from None
    changed: list[tuple[Family, RuleSets, RuleSets]] = []
    for family in families:
        wanted = rule_sets(policy, sidecar, family)
        try:
            changed.append((family, wanted, _install(wanted, family, run)))
        except Refused as why:
            raise Refused("; ".join([str(why), *_reverted(changed, run)])) from None


def remove(
    families: Iterable[Family], run: Run, variant: IptablesVariant = IptablesVariant.NFT
) -> None:
    """Remove our chains, and the jumps into them, from some families.

    Raises:
        Refused: The rules could not be listed or changed.
    """
    if variant is IptablesVariant.NATIVE:
        native.remove(run)
        return
    for family in families:
        found = _installed(family, run)
        if found != NOTHING:
            _restore(transition(found, NOTHING), family, run)


def _install(wanted: RuleSets, family: Family, run: Run) -> RuleSets:
    """Replace the installed rule sets, and return the old ones.

    Raises:
        Refused: The installed rule sets are unchanged.
    """
    try:
        _restore(creation(wanted), family, run)
    except Refused:
        found = _installed(family, run)
        if found == NOTHING:
            raise
        # Without redirection, the rules are left over from a restore that ended between the tables.
        before = NOTHING if found[Table.NAT] == RuleSet() else found
        try:
            _restore(transition(found, wanted), family, run)
        except Refused as why:
            now = _installed(family, run)
            raise Refused("; ".join([str(why), *_reverted([(family, now, before)], run)])) from None
        return before
    return NOTHING


def _reverted(changed: Sequence[tuple[Family, RuleSets, RuleSets]], run: Run) -> list[str]:
    """Revert the changes, and return the errors of that."""
    errors = []
    for family, current, before in reversed(changed):
        try:
            if current != before:
                _restore(transition(current, before), family, run)
        except Refused as why:
            errors.append(f"and its {family.program} rules could not be taken back: {why}")
    return errors


def _installed(family: Family, run: Run) -> RuleSets:
    return {table: _installed_in(table, family, run) for table in Table}


def _installed_in(table: Table, family: Family, run: Run) -> RuleSet:
    program = f"{family.program}-save"
    ended = run([program, "-t", table])
    if ended.status != 0:
        raise Refused(f"{program} {ended.failure}")
    # A listing is empty if there is no table yet. A listing without its head is truncated: the
    # jumps, which are first, would be missing from it and be added a second time.
    if ended.stdout.strip() and f"*{table}" not in ended.stdout.splitlines():
        raise Refused(
            f"{program} did not list the whole {table} table: {tail(ended.stdout, lines=1)}"
        )
    return read_back(ended.stdout)


def _restore(text: str, family: Family, run: Run) -> None:
    program = f"{family.program}-restore"
    ended = run([program, "--noflush", f"--wait={LOCK_WAIT_S}"], text)
    if ended.status != 0:
        raise Refused(f"{program} {ended.failure}{_line_at_fault(ended.stderr, text)}")


def _line_at_fault(stderr: str, text: str) -> str:
    """Return, in parentheses, the input line whose number is in an error message."""
    found = re.search(r"\bline:? (\d+)", stderr)
    lines = text.splitlines()
    if found is None or not 1 <= int(found[1]) <= len(lines):
        return ""
    return f" ({lines[int(found[1]) - 1]})"
