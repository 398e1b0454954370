"""The kernel memory of rules, measured in a control group. No test asserts a figure."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from pytest_fsmredir import procs
from pytest_fsmredir.backends.netns.kernel_memory import (
    PAGE,
    Enter,
    GroupMemory,
    Hierarchy,
    MachineMemory,
    hierarchies,
    memory_gauge,
)
from pytest_fsmredir.backends.netns.namespace import Namespace
from pytest_fsmredir.backends.netns.programs import program_of
from pytest_fsmredir.backends.netns.routing import set_up
from pytest_fsmredir.backends.netns.tracked import track_connections
from pytest_fsmredir.model.outcomes import IptablesVariant

pytestmark = pytest.mark.kernel


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """A network namespace without rules."""
    with closing(Namespace()) as made:
        yield made


def first_gauge() -> tuple[Hierarchy, GroupMemory]:
    """Return a gauge with groups; skip on machines on which this user cannot make any."""
    for hierarchy in hierarchies():
        with suppress(OSError):
            return hierarchy, GroupMemory(hierarchy)
    pytest.skip("this user cannot make control groups that count kernel memory")


def rules(count: int) -> str:
    """Return a rule set with that many rules."""
    lines = (f"-A OUTPUT -d 100.64.{n // 250}.{n % 250} -j RETURN" for n in range(count))
    return "\n".join(["*nat", *lines, "COMMIT", ""])


@pytest.mark.parametrize("variant", [IptablesVariant.NFT, IptablesVariant.LEGACY])
def test_more_rules_take_more_memory_and_no_group_stays(
    namespace: Namespace, variant: IptablesVariant
) -> None:
    """Catches: a group that does not hold the programs, or one that a run leaves behind."""
    hierarchy, gauge = first_gauge()
    program = f"{program_of(variant, 4)}-restore"

    def loads(count: int) -> int:
        def work(enter: Enter) -> None:
            def load() -> None:
                enter()
                procs.run([program], stdin=rules(count))

            namespace.run_apart(load)

        return gauge.taken(work)

    with closing(gauge):
        small, large = loads(10), loads(5000)
    # A rule holds at least the address and the name of its target.
    assert large - small > 4990 * 32
    assert not list(hierarchy.root.glob(f"{gauge.prefix}*"))


def test_programs_that_take_nothing_are_below_the_resolution(namespace: Namespace) -> None:
    """Catches: memory of the harness that counts as memory of rules."""
    _, gauge = first_gauge()
    with closing(gauge):
        assert gauge.taken(namespace.run_apart) <= gauge.resolution


def test_without_groups_the_machine_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Catches: a benchmark that needs the right to make control groups."""
    mounts = tmp_path / "mounts"
    mounts.write_text("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\nproc /proc proc rw 0 0\n")
    monkeypatch.setattr(
        "pytest_fsmredir.backends.netns.kernel_memory.hierarchies",
        lambda: [Hierarchy(tmp_path / "missing", 1), Hierarchy(tmp_path / "missing", 2)],
    )
    gauge = memory_gauge()
    assert isinstance(gauge, MachineMemory)
    assert gauge.resolution > PAGE


def test_hierarchies_that_count_memory_are_found(tmp_path: Path) -> None:
    """Catches: a group made where no memory is counted."""
    counting, other = tmp_path / "v2", tmp_path / "other"
    for directory, controllers in ((counting, "cpu memory"), (other, "cpu")):
        directory.mkdir()
        (directory / "cgroup.subtree_control").write_text(controllers)
    mounts = tmp_path / "mounts"
    mounts.write_text(
        f"cgroup /a cgroup rw,relatime,cpu 0 0\ncgroup /b cgroup rw,relatime,memory 0 0\n"
        f"cgroup2 {counting} cgroup2 rw 0 0\ncgroup2 {other} cgroup2 rw 0 0\n"
    )
    assert list(hierarchies(mounts)) == [Hierarchy(Path("/b"), 1), Hierarchy(counting, 2)]


def test_tracking_pod_has_entries_of_its_connections(namespace: Namespace) -> None:
    """Catches: a pod that is called tracking, and tracks nothing."""
    netlink = namespace.netlink
    netlink.ask(set_up(netlink.index("lo")))
    count = Path("/proc/sys/net/netfilter/nf_conntrack_count")

    def tracked() -> int:
        with namespace.socket(4, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"x", ("127.0.0.1", 9))
        return namespace.run(lambda: int(count.read_text()))

    assert tracked() == 0
    track_connections(namespace, IptablesVariant.NFT, 4)
    assert tracked() == 1
