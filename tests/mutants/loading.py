"""Ways to load rule sets into a pod: the correct way, and wrong ways from real meshes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pytest_fsmredir.errors import tail
from pytest_fsmredir.implementations.base import Completed, IptablesVariant, Refused, Target
from tests.mutants import rules as text
from tests.mutants.rules import Rules, chains_of

Edit = Callable[[str], str]

ROUTE_LOCALNET = "for f in all eth0; do echo 1 >/proc/sys/net/ipv4/conf/$f/route_localnet; done"
"""A shell line that makes a pod accept packets for 127.0.0.0/8 from the network."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The rules for one family of a pod.

    Attributes:
        family: IP version.
        rules: The rules.
        edit: A final change to every text that is loaded.
    """

    family: int
    rules: Rules
    edit: Edit

    @property
    def program(self) -> str:
        """The common prefix of the family's program names."""
        return "iptables" if self.family == 4 else "ip6tables"

    @property
    def creation(self) -> str:
        """Input that adds the rules to a pod without rules."""
        return self.edit(text.creation(self.rules))

    @property
    def renewal(self) -> str:
        """Input that replaces the contents of the chains."""
        return self.edit(text.renewal(self.rules))


class Load(Protocol):
    """A way to load rule sets into a pod."""

    def __call__(self, pod: Target, plans: Sequence[Plan]) -> None:
        """Load them.

        Raises:
            Refused: They could not be loaded.
        """
        ...


def install(pod: Target, plans: Sequence[Plan]) -> None:
    """Load all families or none: replace our earlier rules, keep foreign rules."""
    done: list[tuple[Plan, str]] = []
    for plan in plans:
        try:
            done.append((plan, _replace(pod, plan)))
        except Refused:
            for other, undo in reversed(done):
                restore(pod, other, undo)
            raise


def restore(pod: Target, plan: Plan, lines: str, *options: str) -> Completed:
    """Run the family's restore program on some input."""
    return pod.run([f"{plan.program}-restore", "--noflush", "--wait=5", *options], lines)


def must(done: Completed) -> None:
    """Refuse if a program failed.

    Raises:
        Refused: It did.
    """
    if done.status != 0:
        raise Refused(f"exit status {done.status}: {tail(done.stderr)}")


def without_status(load: Load) -> Load:
    """Load, and report success whatever the result is."""

    def careless(pod: Target, plans: Sequence[Plan]) -> None:
        try:
            load(pod, plans)
        except Refused:
            return

    return careless


@dataclass(frozen=True)
class Between:
    """Run shell lines in the pod before and after the rules are loaded.

    Attributes:
        first: The lines before.
        then: The lines after them.
        load: The way to load the rules.
    """

    first: tuple[str, ...]
    then: tuple[str, ...]
    load: Load = install

    def __call__(self, pod: Target, plans: Sequence[Plan]) -> None:
        """Load them."""
        self._run(pod, self.first)
        self.load(pod, plans)
        self._run(pod, self.then)

    def _run(self, pod: Target, scripts: Sequence[str]) -> None:
        for script in scripts:
            must(pod.run(["/bin/sh", "-c", script]))


def preceded_by(*scripts: str) -> Load:
    """Run shell lines in the pod before the rules are loaded."""
    return Between(scripts, ())


def followed_by(*scripts: str) -> Load:
    """Run shell lines in the pod after the rules are loaded."""
    return Between((), scripts)


def loads_correctly(load: Load) -> bool:
    """Whether rules are loaded in the correct way, apart from shell lines before and after."""
    if isinstance(load, Between):
        return not any("tables" in script for script in (*load.first, *load.then))
    return load is install


def only_creating(pod: Target, plans: Sequence[Plan]) -> None:
    """Load as if the pod were always fresh: a second run fails, because the chains exist."""
    for plan in plans:
        must(restore(pod, plan, plan.creation))


def unless_there(pod: Target, plans: Sequence[Plan]) -> None:
    """Treat any existing chains of ours as a complete rule set, and keep them."""
    for plan in plans:
        listing = pod.run([f"{plan.program}-save", "-t", "nat"]).stdout
        if not any(f":{chain} " in listing for chain in chains_of(plan.rules, "nat")):
            must(restore(pod, plan, plan.creation))


def appending(pod: Target, plans: Sequence[Plan]) -> None:
    """Add the rules to the existing ones, without a flush of the chains."""
    for plan in plans:
        if restore(pod, plan, plan.creation).status != 0:
            lines = [line for line in plan.renewal.splitlines() if not line.startswith("-F")]
            must(restore(pod, plan, "\n".join([*lines, ""])))


def without_flushing(chain: str) -> Load:
    """In a second run, replace all chains except one, which keeps its old rules too."""

    def load(pod: Target, plans: Sequence[Plan]) -> None:
        for plan in plans:
            if restore(pod, plan, plan.creation).status != 0:
                must(restore(pod, plan, plan.renewal.replace(f"-F {chain}\n", "")))

    return load


def toggling(pod: Target, plans: Sequence[Plan]) -> None:
    """In a second run, remove the rules of the first one."""
    for plan in plans:
        if restore(pod, plan, plan.creation).status != 0:
            must(restore(pod, plan, text.removal(plan.rules)))


def flushing_when_there(pod: Target, plans: Sequence[Plan]) -> None:
    """In a second run, flush the whole nat table first."""
    for plan in plans:
        if restore(pod, plan, plan.creation).status != 0:
            must(pod.run([f"{plan.program}-restore"], plan.creation))


def second_family_if_it_can(pod: Target, plans: Sequence[Plan]) -> None:
    """Ignore failures of every family except the first."""
    install(pod, plans[:1])
    for plan in plans[1:]:
        without_status(install)(pod, [plan])


@dataclass(frozen=True)
class UnlessAlone:
    """Load nothing and report success in a pod that has only one IP version.

    Attributes:
        family: That version.
        load: The way to load rules into other pods.
    """

    family: int
    load: Load = install

    def __call__(self, pod: Target, plans: Sequence[Plan]) -> None:
        """Load them."""
        if [plan.family for plan in plans] != [self.family]:
            self.load(pod, plans)


def unless(condition: str) -> Load:
    """Load nothing and report success if a shell line succeeds."""

    def load(pod: Target, plans: Sequence[Plan]) -> None:
        if pod.run(["/bin/sh", "-c", condition]).status != 0:
            install(pod, plans)

    return load


def one_by_one(pod: Target, plans: Sequence[Plan]) -> None:
    """Run one command per line, as the first meshes did: a failure leaves half of the rules."""
    for plan in plans:
        table = ""
        for line in plan.creation.splitlines():
            if line.startswith("*"):
                table = line[1:]
            elif line.startswith("-"):
                must(pod.run([plan.program, "--wait", "5", "-t", table, *line.split()]))


def flushing(pod: Target, plans: Sequence[Plan]) -> None:
    """Load without ``--noflush``: the whole table is replaced, including foreign rules."""
    for plan in plans:
        must(pod.run([f"{plan.program}-restore", "--wait=5"], plan.creation))


def other_variant(pod: Target, plans: Sequence[Plan]) -> None:
    """Load with the programs of the other variant."""
    name = {IptablesVariant.NFT: "legacy", IptablesVariant.LEGACY: "nft"}[pod.iptables]
    for plan in plans:
        program = f"{plan.program}-{name}-restore"
        if pod.run([program, "--noflush"], plan.creation).status != 0:
            must(pod.run([program, "--noflush"], plan.renewal))


def both_variants(pod: Target, plans: Sequence[Plan]) -> None:
    """Load with the programs of both variants."""
    install(pod, plans)
    other_variant(pod, plans)


def in_background(pod: Target, plans: Sequence[Plan]) -> None:
    """Report success before the programs run."""
    for plan in plans:
        script = f"(sleep 1; {plan.program}-restore --noflush) <<'END' &\n{plan.creation}END\n"
        must(pod.run(["/bin/sh", "-c", script]))


def nothing(pod: Target, plans: Sequence[Plan]) -> None:
    """Load nothing and report success."""
    del pod, plans


def impatient(pod: Target, plans: Sequence[Plan]) -> None:
    """Neither wait for the lock nor check the exit status."""
    for plan in plans:
        done = pod.run([f"{plan.program}-restore", "--noflush"], plan.creation)
        if "exist" in done.stderr:
            pod.run([f"{plan.program}-restore", "--noflush"], plan.renewal)


def refusing_foreign_rules(pod: Target, plans: Sequence[Plan]) -> None:
    """Refuse a pod that has only foreign rules."""
    for plan in plans:
        listing = pod.run([f"{plan.program}-save"]).stdout
        if "\n-A" in listing and not any(f":{c} " in listing for c in chains_of(plan.rules, "nat")):
            raise Refused("there are foreign rules in this pod")
    install(pod, plans)


def twice(pod: Target, plans: Sequence[Plan]) -> None:
    """Load the rules twice."""
    install(pod, plans)
    install(pod, plans)


def first_family_at_least(pod: Target, plans: Sequence[Plan]) -> None:
    """Keep the loaded families when a later one fails."""
    for plan in plans:
        _replace(pod, plan)


def _replace(pod: Target, plan: Plan) -> str:
    """Load one family, and return the input that undoes it."""
    created = restore(pod, plan, plan.creation)
    if created.status == 0:
        return text.removal(plan.rules)
    listing = pod.run([f"{plan.program}-save", "-t", "nat"]).stdout
    if not any(f":{chain} " in listing for chain in chains_of(plan.rules, "nat")):
        must(created)
    must(restore(pod, plan, plan.renewal))
    return text.refill(plan.rules, listing)
