"""What a replay says about the sidecar and the users of the captured pod."""

from __future__ import annotations

import pytest

from pytest_fsmredir.model.capture import Capture, CapturedInterface, CapturedListener
from pytest_fsmredir.model.captured_sidecar import remarks_on, users_to_send_as
from pytest_fsmredir.model.policy import Policy
from pytest_fsmredir.probing.aim import ProbeTargets, probes

GOOD = (("0.0.0.0", 15001, 1500), ("::", 15003, 1500))


def remarks(*listeners: tuple[str, int, int], **users: int) -> list[str]:
    found = tuple(CapturedListener(*each) for each in listeners)
    interface = CapturedInterface("eth0", ("10.2.0.9/32",))
    pod = Capture(
        pod="a/b", taken_from="pod", interfaces=(interface,), users=users, listeners=found
    )
    return list(remarks_on(pod))


def test_sidecar_as_documented_needs_no_remark() -> None:
    """Catches: a warning about a pod whose sidecar is in order."""
    assert remarks(*GOOD, app=1000, sidecar=1500) == []


@pytest.mark.parametrize(
    ("listeners", "uid", "words"),
    [
        (GOOD[1:], 1500, "no program of the pod listened on port 15001"),
        ((GOOD[0], ("::", 15003, 0)), 1500, "port 15003 belonged to user 0, not to the sidecar's"),
        ((GOOD[0], ("127.0.0.1", 15003, 1500)), 1500, "on port 15003 of loopback alone"),
        (GOOD, 1337, "the container sidecar runs as user 1337, not as 1500"),
        ((*GOOD, ("::", 8080, 1000)), 1500, "listeners on port 8080 were not used"),
    ],
)
def test_difference_is_named(
    listeners: tuple[tuple[str, int, int], ...], uid: int, words: str
) -> None:
    """Catches: a pod whose sidecar does not listen, and whose replay looks as if it did."""
    (remark,) = remarks(*listeners, sidecar=uid)
    assert words in remark


def test_users_of_containers_send_flows() -> None:
    """Catches: a rule that exempts the user of a container and that no flow shows."""
    interface = CapturedInterface("eth0", ("10.2.0.9/32",))
    pod = Capture(
        pod="a/b", interfaces=(interface,), users={"a": 2000, "b": 1500, "c": 2000, "d": 2**31}
    )
    assert users_to_send_as(pod, 65535) == (2000,)
    scene = ProbeTargets(
        family=4, server="198.51.100.10", pod="10.2.0.9", loopback="127.0.0.1",
        silent="203.0.113.99", users=(2000,),
    )  # fmt: skip
    assert 2000 in {probe.flow.uid for probe in probes(Policy(), scene)}
