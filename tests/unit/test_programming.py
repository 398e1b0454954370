"""The end of an attempt to program a pod: its message, or the lack of one."""

from __future__ import annotations

from typing import cast

import pytest

from pytest_fsmredir.backends.programming import Programming
from pytest_fsmredir.implementations.base import Completed, Refused, Target
from pytest_fsmredir.implementations.init_command import InitCommand
from pytest_fsmredir.model.configuration import Configuration

SILENT = Programming(accepted=False, reason="exited 1: (no output)", silent=True)


class Pod:
    """A target in which every command fails in the same way."""

    def __init__(self, stdout: str, stderr: str) -> None:
        self._ended = Completed(1, stdout, stderr)

    def run(self, _argv: object, stdin: str = "") -> Completed:
        del stdin
        return self._ended


def refusal(stdout: str, stderr: str) -> Refused:
    with pytest.raises(Refused) as caught:
        InitCommand("false").program(cast("Target", Pod(stdout, stderr)))
    return caught.value


def test_refusal_without_a_message_differs_from_one_with_a_message() -> None:
    """Catches: a user who must guess why the pod does not start."""
    assert refusal("", " \n").silent
    assert not refusal("", "bad port 0\n").silent
    assert Refused("").silent
    assert not Refused("bad port 0").silent
    assert SILENT.refused
    assert not SILENT.refused_with_a_message
    assert "a refusal with a message; seen" in repr(SILENT.refused_with_a_message)


def test_message_on_standard_output_counts() -> None:
    """Catches: a command that prints why it refuses, and is reported as silent."""
    assert str(refusal("bad port 0\n", "")).endswith("exited 1: bad port 0")
    assert str(refusal("noise\n", "bad port 0\n")).endswith("exited 1: bad port 0")
    assert not refusal("bad port 0\n", "").silent


def test_missed_refusal_names_the_values() -> None:
    """Catches: an accepted bad value that a user finds only by trying all values."""
    asked = Configuration({"flomesh.io/inbound-port-exclusion-list": "-1"})
    assert repr(Programming(accepted=True, configuration=asked).refused) == (
        "expected a refusal of annotations {'flomesh.io/inbound-port-exclusion-list': '-1'};"
        " seen programmed"
    )
    assert repr(Programming(accepted=True).refused) == "expected a refusal; seen programmed"
