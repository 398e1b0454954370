"""Which trials an equivalent mutant is spared: those in which it says what the original said."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from pytest_fsmredir.implementations.base import Completed, IptablesVariant, Refused
from pytest_fsmredir.model.configuration import Configuration
from tests.mutants.collected import by_name
from tests.mutants.conversations import Conversation, Listener, load, save, says_the_same
from tests.mutants.mutant import MutantImplementation
from tests.mutants.runner import ORIGINAL

_EXCLUDED = "flomesh.io/outbound-ip-range-exclusion-list"


class _Pod:
    """A pod whose programs for a family can all be made to fail."""

    iptables = IptablesVariant.NFT
    addresses = ("10.77.0.1", "fd77:1::1")

    def __init__(self, name: str, configuration: Configuration, failing: str) -> None:
        self.name, self.configuration = name, configuration
        self._failing = failing

    def run(self, argv: Sequence[str], stdin: str = "") -> Completed:
        del stdin
        fails = bool(self._failing) and argv[0].startswith(self._failing)
        return Completed(int(fails), "", "no" if fails else "")


def _heard(annotations: dict[str, str], failing: str = "") -> tuple[Conversation, ...]:
    listener = Listener(MutantImplementation(by_name(ORIGINAL)))
    with suppress(Refused):
        listener.program(_Pod("pod1", Configuration(annotations), failing))
    return listener.since(())


@pytest.mark.parametrize(
    ("mutant", "annotations", "failing", "same"),
    [
        (ORIGINAL, {}, "", True),
        (ORIGINAL, {}, "ip6tables", True),
        ("same-ranges-reversed", {}, "", True),
        ("same-ranges-reversed", {_EXCLUDED: "1.1.1.1/32,2.2.2.2/32"}, "", False),
        ("same-ranges-reversed", {_EXCLUDED: "1.1.1.1/33"}, "", True),
        ("same-goto", {}, "", False),
        ("same-own-call-source-rewritten", {}, "", False),
        ("same-loaded-twice", {}, "", False),
        ("same-first-family-stays", {}, "", True),
        ("same-first-family-stays", {}, "ip6tables", False),
        ("nothing-programmed", {}, "", False),
        ("annotations-leak-to-other-pods", {}, "", False),
    ],
)
def test_only_what_repeats_every_word_is_spared(
    mutant: str, annotations: dict[str, str], failing: str, *, same: bool
) -> None:
    """A mutant that is never tried where it differs."""
    assert says_the_same(by_name(mutant), _heard(annotations, failing)) is same


def test_listener_tells_of_shared_pods_again() -> None:
    """A trial whose pod another trial had made, taken for one in which nothing was said."""
    listener = Listener(MutantImplementation(by_name(ORIGINAL)))
    listener.program(_Pod("pod1", Configuration(), ""))
    assert [said.name for said in listener.since(())] == ["pod1"]
    listener.program(_Pod("pod2", Configuration(), ""))
    assert [said.name for said in listener.since(("pod1",))] == ["pod1", "pod2"]
    assert listener.since(()) == ()


def test_conversations_are_kept_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "heard"
    assert load(file) == {}
    save({"OUT-001[nft-v4]": _heard({})}, file)
    assert load(file) == {"OUT-001[nft-v4]": _heard({})}
