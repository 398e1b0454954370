"""The contract's variables and files: the input of an implementation for one pod."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pytest_fsmredir.implementations.base import Target
from pytest_fsmredir.model.policy import ListName
from pytest_fsmredir.model.reserved import INBOUND_PORT, OUTBOUND_PORT, SIDECAR_UID

LISTS = {name: name.variable.removeprefix("FSM_").lower() for name in ListName}
"""The name of each list in a rules template, and of its file in ``FSM_LISTS``."""

LONGEST_VARIABLE = 120 * 1024
"""Maximum bytes of a list in its variable. A longer list is in its file only.

The kernel limits one string of an environment, name included, to 128 KiB (MAX_ARG_STRLEN,
linux/binfmts.h).
"""

Lists = Mapping[ListName, Sequence[str]]


def contract_values(target: Target) -> dict[str, str | tuple[str, ...]]:
    """Return the contract's values for a pod, by lower case name; lists are tuples of text."""
    effective = target.configuration.effective()
    return {**{LISTS[name]: values for name, values in effective.items()}, **_facts(target)}


def contract_environment(
    target: Target, *, pod_file: Path, mesh_config_file: Path, lists: Path, path: str
) -> dict[str, str]:
    """Return the environment of an init command: ours, plus the contract's variables.

    It does not contain PYTEST_CURRENT_TEST, so that the implementation cannot know the check.

    Args:
        target: The pod.
        pod_file: The Pod as JSON.
        mesh_config_file: The MeshConfig as JSON.
        lists: The directory that holds the files of :func:`list_files`.
        path: The value of PATH.
    """
    facts = {
        (name if name.startswith("pod_") else f"fsm_{name}").upper(): (
            value if isinstance(value, str) else ",".join(value)
        )
        for name, value in _facts(target).items()
    }
    # A list without a variable must not inherit one from the environment of this process.
    ours = {name.variable for name in ListName}
    return {
        **{
            name: text
            for name, text in os.environ.items()
            if not name.startswith("PYTEST_") and name not in ours
        },
        **facts,
        **list_variables(target.configuration.effective()),
        "PATH": path,
        "FSM_POD": str(pod_file),
        "FSM_MESH_CONFIG": str(mesh_config_file),
        "FSM_LISTS": str(lists),
    }


def list_variables(effective: Lists) -> dict[str, str]:
    """Return the variable of each list: items separated by commas. A long list has no variable."""
    joined = {name.variable: ",".join(items) for name, items in effective.items()}
    return {
        name: text for name, text in joined.items() if len(os.fsencode(text)) <= LONGEST_VARIABLE
    }


def list_files(effective: Lists) -> dict[str, str]:
    r"""Return the text of each file in ``FSM_LISTS``, by file name: one item a line.

    A newline in an item is written as ``\n``, so that the item stays one malformed item. A list of
    one empty item is an empty file, because its variable is empty too.
    """
    return {
        LISTS[name]: "".join(item.replace("\n", r"\n") + "\n" for item in items if any(items))
        for name, items in effective.items()
    }


def _facts(target: Target) -> dict[str, str | tuple[str, ...]]:
    """Return the contract's values for a pod without the lists."""
    return {
        "pod_ip": next((a for a in target.addresses if ":" not in a), target.addresses[0]),
        "pod_ips": target.addresses,
        "proxy_uid": str(SIDECAR_UID),
        "inbound_port": str(INBOUND_PORT),
        "outbound_port": str(OUTBOUND_PORT),
        "iptables": target.iptables.value,
    }
