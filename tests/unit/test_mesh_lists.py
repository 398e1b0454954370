"""The lists of ``mesh install --set``."""

from __future__ import annotations

import pytest

from pytest_fsmredir.errors import SettingsError
from pytest_fsmredir.reference_mesh.lists import lists_of


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (
            "fsm.outboundIPRangeExclusionList={1.1.1.1/32,2.2.2.2/24}",
            {"outboundIPRangeExclusionList": ["1.1.1.1/32", "2.2.2.2/24"]},
        ),
        (
            "fsm.outboundIPRangeInclusionList=[1.1.1.1/32,2.2.2.2/24]",
            {"outboundIPRangeInclusionList": ["1.1.1.1/32", "2.2.2.2/24"]},
        ),
        ("fsm.outboundPortExclusionList={6379,7070}", {"outboundPortExclusionList": [6379, 7070]}),
        ("fsm.inboundPortExclusionList=[6379,7070]", {"inboundPortExclusionList": [6379, 7070]}),
        ('fsm.inboundPortExclusionList="[6379]"', {"inboundPortExclusionList": [6379]}),
        (
            "fsm.networkInterfaceExclusionList={eth1, net+}",
            {"networkInterfaceExclusionList": ["eth1", "net+"]},
        ),
        ("fsm.outboundPortExclusionList={}", {"outboundPortExclusionList": []}),
    ],
)
def test_examples_of_the_documentation(setting: str, expected: dict[str, list[object]]) -> None:
    """Catches: a documented setting that the command refuses or misreads."""
    assert lists_of([setting]) == expected


def test_later_setting_wins() -> None:
    """Catches: two settings of one list that are merged."""
    settings = ["fsm.outboundPortExclusionList={1}", "fsm.outboundPortExclusionList={2}"]

    assert lists_of(settings) == {"outboundPortExclusionList": [2]}


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("fsm.outboundPortExclusionLists={1}", "did you mean 'fsm.outboundPortExclusionList'"),
        ("outboundPortExclusionList={1}", "known: fsm.outbound"),
        ("fsm.outboundPortExclusionList", "expected KEY=LIST"),
        ("fsm.outboundPortExclusionList=1,2", "'1,2' is not a list in braces"),
        ("fsm.outboundPortExclusionList={1]", "not a list in braces"),
        ("fsm.outboundPortExclusionList={0}", "'0' is not a port"),
        ("fsm.outboundPortExclusionList={1,}", "'' is not a port"),
        ("fsm.inboundPortExclusionList={70000}", "fsm.inboundPortExclusionList: '70000'"),
        ("fsm.outboundIPRangeExclusionList={1.1.1.1}", "'1.1.1.1' is not a CIDR range"),
        ("fsm.networkInterfaceExclusionList={a/b}", "'a/b' is not an interface name"),
    ],
)
def test_bad_setting_is_named(setting: str, told: str) -> None:
    """Catches: a typo that silently drops a list, or an error without its position."""
    with pytest.raises(SettingsError) as caught:
        lists_of([setting])

    assert told in str(caught.value)
