"""``reference apply|remove|print``: run the reference as an init command of the contract.

Exit status: 0 done, 1 refused (the reason is on standard error), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from pytest_fsmredir.errors import CommandError, ConfigurationError
from pytest_fsmredir.implementations.base import Completed, IptablesVariant, Refused
from pytest_fsmredir.implementations.environment import LISTS
from pytest_fsmredir.implementations.reference import native
from pytest_fsmredir.implementations.reference.programming import apply, families_of, remove
from pytest_fsmredir.implementations.reference.rules import (
    Family,
    SidecarPorts,
    creation,
    reject_unsupported,
    rule_sets,
)
from pytest_fsmredir.model.configuration import parse_interface, parse_ip_range, parse_port
from pytest_fsmredir.model.policy import ListName, Policy
from pytest_fsmredir.model.reserved import INBOUND_PORT, OUTBOUND_PORT, SIDECAR_UID
from pytest_fsmredir.procs import run_any

Environment = Mapping[str, str]
T = TypeVar("T")

_VARIANT_MARKS: Final = {IptablesVariant.NFT: "(nf_tables)", IptablesVariant.LEGACY: "(legacy)"}
_HIGHEST_UID: Final = 2**32 - 2  # (uid_t) -1 means "no user" (chown(2))


def main(argv: Sequence[str]) -> int:
    """Run one action of the reference on the network namespace of this process.

    Args:
        argv: The action, ``apply``, ``remove`` or ``print``.

    Returns:
        Exit status: 0 done, 1 refused, 2 wrong usage.
    """
    actions = {"apply": _apply, "remove": _remove, "print": _print}
    try:
        chosen = _parser(actions).parse_args(argv).action
    except SystemExit as end:  # argparse has printed the reason already
        return int(end.code or 0)
    try:
        actions[chosen](os.environ)
    except (CommandError, ConfigurationError, Refused) as why:
        sys.stderr.write(f"refused: {why}\n")
        return 1
    return 0


def policy_from(environment: Environment) -> Policy:
    """Return the policy that the lists of the contract describe.

    A list that has no variable is read from its file in ``FSM_LISTS``.

    Raises:
        ConfigurationError: A value is malformed, or a file cannot be read; the message names the
            value and its variable or file.
    """
    return Policy(
        outbound_ip_range_exclusion_list=_listed(
            environment, ListName.OUTBOUND_IP_RANGE_EXCLUSION, parse_ip_range
        ),
        outbound_ip_range_inclusion_list=_listed(
            environment, ListName.OUTBOUND_IP_RANGE_INCLUSION, parse_ip_range
        ),
        outbound_port_exclusion_list=_listed(
            environment, ListName.OUTBOUND_PORT_EXCLUSION, parse_port
        ),
        inbound_port_exclusion_list=_listed(
            environment, ListName.INBOUND_PORT_EXCLUSION, parse_port
        ),
        network_interface_exclusion_list=_listed(
            environment, ListName.NETWORK_INTERFACE_EXCLUSION, parse_interface
        ),
    )


def sidecar_from(environment: Environment) -> SidecarPorts:
    """Return the sidecar that the contract's variables describe; the seed's values by default.

    Raises:
        ConfigurationError: A value is malformed; the message names it and its variable.
    """
    sidecar = SidecarPorts(
        uid=_single(environment, "FSM_PROXY_UID", SIDECAR_UID, _parse_uid),
        inbound_port=_single(environment, "FSM_INBOUND_PORT", INBOUND_PORT, parse_port),
        outbound_port=_single(environment, "FSM_OUTBOUND_PORT", OUTBOUND_PORT, parse_port),
    )
    if sidecar.inbound_port == sidecar.outbound_port:
        raise ConfigurationError(
            f"FSM_INBOUND_PORT and FSM_OUTBOUND_PORT are both {sidecar.inbound_port};"
            " give the sidecar two listeners"
        )
    return sidecar


def _apply(environment: Environment) -> None:
    policy, sidecar = policy_from(environment), sidecar_from(environment)
    families = _families(environment)
    if not families:
        raise ConfigurationError("POD_IPS is empty; set it to the pod's addresses, comma separated")
    apply(policy, sidecar, families, _run, _variant(environment))


def _remove(environment: Environment) -> None:
    remove(_families(environment) or tuple(Family), _run, _variant(environment))


def _print(environment: Environment) -> None:
    policy, sidecar = policy_from(environment), sidecar_from(environment)
    if _asked_for(environment) is IptablesVariant.NATIVE:
        sys.stdout.write("# nft -f -\n")
        sys.stdout.write(native.transaction(policy, sidecar, tuple(Family)))
        return
    reject_unsupported(policy, sidecar)
    for family in Family:
        sys.stdout.write(f"# {family.program}-restore --noflush\n")
        sys.stdout.write(creation(rule_sets(policy, sidecar, family)))


def _parser(actions: Mapping[str, object]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="reference",
        description="Program this network namespace as a pod, by the variables of the contract.",
    )
    parser.add_argument("action", choices=list(actions))
    return parser


def _families(environment: Environment) -> tuple[Family, ...]:
    """Return the families of ``POD_IPS``, or of ``POD_IP`` if only that is set."""
    variable = "POD_IPS" if environment.get("POD_IPS", "").strip() else "POD_IP"
    addresses = [item.strip() for item in environment.get(variable, "").split(",")]
    try:
        return families_of(address for address in addresses if address)
    except ValueError as why:
        raise ConfigurationError(
            f"{variable}: {why}; set it to the pod's addresses, comma separated"
        ) from None


def _variant(environment: Environment) -> IptablesVariant:
    """Return the variant to program.

    Raises:
        Refused: The programs on PATH are not of the requested variant, so their rules might not
            take effect.
    """
    wanted = _asked_for(environment)
    if wanted is None or wanted is IptablesVariant.NATIVE:
        return wanted or IptablesVariant.NFT
    seen = _run(["iptables-restore", "--version"]).stdout.strip()
    if _VARIANT_MARKS[wanted] not in seen:
        raise Refused(
            f"FSM_IPTABLES is {wanted}, but iptables-restore on PATH is {seen!r};"
            f" put the {wanted} programs first on PATH"
        )
    return wanted


def _asked_for(environment: Environment) -> IptablesVariant | None:
    return _single(environment, "FSM_IPTABLES", None, _parse_variant)


def _run(argv: Sequence[str], stdin: str = "") -> Completed:
    return Completed(*run_any(argv, stdin=stdin))


def _listed(environment: Environment, name: ListName, parse: Callable[[str], T]) -> tuple[T, ...]:
    if name.variable not in environment and "FSM_LISTS" in environment:
        where, items = _items_of_file(Path(environment["FSM_LISTS"]) / LISTS[name])
    else:
        where, items = name.variable, environment.get(name.variable, "").strip().split(",")
    if items == [""]:
        return ()
    return tuple(dict.fromkeys(_parsed(where, item.strip(), parse) for item in items))


def _items_of_file(file: Path) -> tuple[str, list[str]]:
    """Return the path of a list's file, and its items: one per line."""
    try:
        text = os.fsdecode(file.read_bytes())  # which keeps "\r"
    except OSError as why:
        raise ConfigurationError(
            f"FSM_LISTS: {file}: {why.strerror}; the file has to hold the list, one item a line"
        ) from None
    return str(file), text.removesuffix("\n").split("\n")


def _single(environment: Environment, variable: str, default: T, parse: Callable[[str], T]) -> T:
    text = environment.get(variable, "").strip()
    return _parsed(variable, text, parse) if text else default


def _parsed(variable: str, text: str, parse: Callable[[str], T]) -> T:
    try:
        return parse(text)
    except ValueError as why:
        raise ConfigurationError(
            f"{variable}: {text!r} {why}; correct or remove that value, then run again"
        ) from None


def _parse_uid(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= _HIGHEST_UID):
        raise ValueError(f"is not a user id from 0 to {_HIGHEST_UID}")
    return int(text)


def _parse_variant(text: str) -> IptablesVariant:
    if text not in set(IptablesVariant):
        raise ValueError(f"is not one of {', '.join(IptablesVariant)}")
    return IptablesVariant(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
