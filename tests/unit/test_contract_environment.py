"""The environment variables and files of the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_fsmredir.errors import ConfigurationError
from pytest_fsmredir.implementations.environment import list_files, list_variables
from pytest_fsmredir.implementations.reference.command import policy_from
from pytest_fsmredir.model.policy import ListName, Policy

PORTS = ListName.OUTBOUND_PORT_EXCLUSION
VARIABLE, FILE = "FSM_OUTBOUND_PORT_EXCLUSION_LIST", "outbound_port_exclusion_list"


def lists_in(folder: Path, **texts: str) -> dict[str, str]:
    """Write the files of all lists, empty except for the given ones, and return the environment."""
    for name in ListName:
        (folder / name.value).write_bytes(texts.get(name.value, "").encode())
    return {"FSM_LISTS": str(folder)}


@pytest.mark.parametrize(("length", "fits"), [(120 * 1024, True), (120 * 1024 + 1, False)])
def test_long_list_has_no_variable(length: int, fits: bool) -> None:
    """Catches: an environment that is too long for the kernel, or a list truncated to fit."""
    lists = {PORTS: ("é", "x" * (length - 3))}

    assert (VARIABLE in list_variables(lists)) == fits
    assert len(list_files(lists)[FILE].encode()) == length + 1


def test_files_hold_one_item_a_line() -> None:
    """Catches: an item with a newline that becomes two valid items."""
    assert list_files({PORTS: ("80", "443\n8080", "a\rb")})[FILE] == "80\n443\\n8080\na\rb\n"


@pytest.mark.parametrize("items", [(), ("",)])
def test_file_of_an_empty_list_is_empty(items: tuple[str, ...]) -> None:
    """Catches: a list without items that is read as one empty item."""
    assert list_files({PORTS: items})[FILE] == ""


def test_reference_reads_a_list_without_a_variable_from_its_file(tmp_path: Path) -> None:
    """Catches: a long list that is read as an empty list."""
    environment = lists_in(tmp_path, outbound_port_exclusion_list="80\n443\n80\n")

    assert policy_from(environment) == Policy(outbound_port_exclusion_list=(80, 443))
    assert policy_from({**environment, VARIABLE: ""}) == Policy()


@pytest.mark.parametrize("text", ["80\n\n443\n", "80,443\n", "80\r443\n", "80\\n443\n", "\n80\n"])
def test_malformed_line_is_refused_with_the_name_of_its_file(tmp_path: Path, text: str) -> None:
    """Catches: a line that is skipped, or that is split at a character other than a newline."""
    with pytest.raises(ConfigurationError, match=f"{FILE}: .* is not a port"):
        policy_from(lists_in(tmp_path, outbound_port_exclusion_list=text))


def test_missing_file_is_refused(tmp_path: Path) -> None:
    """Catches: a missing file that is read as an empty list."""
    with pytest.raises(ConfigurationError, match=r"FSM_LISTS: .*_list: No such file"):
        policy_from({"FSM_LISTS": str(tmp_path)})
