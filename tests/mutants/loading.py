"""Getting rule sets into a pod: the right way, and the wrong ways of the field."""

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
"""A shell line that has a pod take packets for 127.0.0.0/8 from the network."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one family of a pod is to hold.

    Attributes:
        family: IP version.
        rules: The rules.
        edit: A last change to every text that is loaded.
    """

    family: int
    rules: Rules
    edit: Edit

    @property
    def program(self) -> str:
        """The common beginning of the names of the family's programs."""
        return "iptables" if self.family == 4 else "ip6tables"

    @property
    def creation(self) -> str:
        """Input that adds the rules where there are none."""
        return self.edit(text.creation(self.rules))

    @property
    def renewal(self) -> str:
        """Input that refills the chains."""
        return self.edit(text.renewal(self.rules))


class Load(Protocol):
    """A way to get rule sets into a pod."""

    def __call__(self, pod: Target, plans: Sequence[Plan]) -> None:
        """Load them.

        Raises:
            Refused: They could not be loaded.
        """
        ...


def install(pod: Target, plans: Sequence[Plan]) -> None:
    """Load every family or none: in place of our own rules of an earlier run, beside others'."""
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
    """Load, and say that all is well whatever came of it."""

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
        then: The lines after.
        load: How the rules are loaded.
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


def loads_as_ever(load: Load) -> bool:
    """Whether rules are loaded in the correct way, whatever else is done that is no rule's."""
    if isinstance(load, Between):
        return not any("tables" in script for script in (*load.first, *load.then))
    return load is install


def only_creating(pod: Target, plans: Sequence[Plan]) -> None:
    """Load as if the pod were always fresh: a second run fails, because the chains exist."""
    for plan in plans:
        must(restore(pod, plan, plan.creation))


def unless_there(pod: Target, plans: Sequence[Plan]) -> None:
    """Take any chains of ours for a complete rule set, and leave them as they are."""
    for plan in plans:
        listing = pod.run([f"{plan.program}-save", "-t", "nat"]).stdout
        if not any(f":{chain} " in listing for chain in chains_of(plan.rules, "nat")):
            must(restore(pod, plan, plan.creation))


def appending(pod: Target, plans: Sequence[Plan]) -> None:
    """Add the rules to what is there, without emptying the chains first."""
    for plan in plans:
        if restore(pod, plan, plan.creation).status != 0:
            lines = [line for line in plan.renewal.splitlines() if not line.startswith("-F")]
            must(restore(pod, plan, "\n".join([*lines, ""])))


def without_flushing(chain: str) -> Load:
    """Refill all chains in a second run but one, which keeps what it has as well."""

    def load(pod: Target, plans: Sequence[Plan]) -> None:
        for plan in plans:
            if restore(pod, plan, plan.creation).status != 0:
                must(restore(pod, plan, plan.renewal.replace(f"-F {chain}\n", "")))

    return load


def toggling(pod: Target, plans: Sequence[Plan]) -> None:
    """Take away in a second run what the first one added."""
    for plan in plans:
        if restore(pod, plan, plan.creation).status != 0:
            must(restore(pod, plan, text.removal(plan.rules)))


def flushing_when_there(pod: Target, plans: Sequence[Plan]) -> None:
    """In a second run, empty the whole nat table first."""
    for plan in plans:
        if restore(pod, plan, plan.creation).status != 0:
            must(pod.run([f"{plan.program}-restore"], plan.creation))


def second_family_if_it_can(pod: Target, plans: Sequence[Plan]) -> None:
    """Do not mind what becomes of any family but the first."""
    install(pod, plans[:1])
    for plan in plans[1:]:
        without_status(install)(pod, [plan])


@dataclass(frozen=True)
class UnlessAlone:
    """Load nothing, and call it done, in a pod that has one IP version alone.

    Attributes:
        family: That version.
        load: How rules are loaded into other pods.
    """

    family: int
    load: Load = install

    def __call__(self, pod: Target, plans: Sequence[Plan]) -> None:
        """Load them."""
        if [plan.family for plan in plans] != [self.family]:
            self.load(pod, plans)


def unless(condition: str) -> Load:
    """Load nothing, and call it done, where a shell line succeeds."""

    def load(pod: Target, plans: Sequence[Plan]) -> None:
        if pod.run(["/bin/sh", "-c", condition]).status != 0:
            install(pod, plans)

    return load


def one_by_one(pod: Target, plans: Sequence[Plan]) -> None:
    """Run one command a line, as the first meshes did: a failure leaves half of the rules."""
    for plan in plans:
        for line in plan.creation.splitlines():
            if line.startswith("-"):
                must(pod.run([plan.program, "--wait", "5", "-t", "nat", *line.split()]))


def flushing(pod: Target, plans: Sequence[Plan]) -> None:
    """Load without ``--noflush``: the whole table is replaced, rules of others included."""
    for plan in plans:
        must(pod.run([f"{plan.program}-restore", "--wait=5"], plan.creation))


def other_variant(pod: Target, plans: Sequence[Plan]) -> None:
    """Load with the programs of the variant that was not asked for."""
    name = {IptablesVariant.NFT: "legacy", IptablesVariant.LEGACY: "nft"}[pod.iptables]
    for plan in plans:
        program = f"{plan.program}-{name}-restore"
        if pod.run([program, "--noflush"], plan.creation).status != 0:
            must(pod.run([program, "--noflush"], plan.renewal))


def both_variants(pod: Target, plans: Sequence[Plan]) -> None:
    """Load with the programs of either variant."""
    install(pod, plans)
    other_variant(pod, plans)


def in_background(pod: Target, plans: Sequence[Plan]) -> None:
    """Say "programmed" while the programs are still to run."""
    for plan in plans:
        script = f"(sleep 1; {plan.program}-restore --noflush) <<'END' &\n{plan.creation}END\n"
        must(pod.run(["/bin/sh", "-c", script]))


def nothing(pod: Target, plans: Sequence[Plan]) -> None:
    """Load nothing and call it done."""
    del pod, plans


def impatient(pod: Target, plans: Sequence[Plan]) -> None:
    """Neither wait for the lock nor look at the exit status."""
    for plan in plans:
        done = pod.run([f"{plan.program}-restore", "--noflush"], plan.creation)
        if "exist" in done.stderr:
            pod.run([f"{plan.program}-restore", "--noflush"], plan.renewal)


def refusing_beside_others(pod: Target, plans: Sequence[Plan]) -> None:
    """Refuse a pod that holds rules, none of which is ours."""
    for plan in plans:
        listing = pod.run([f"{plan.program}-save"]).stdout
        if "\n-A" in listing and not any(f":{c} " in listing for c in chains_of(plan.rules, "nat")):
            raise Refused("there are rules of others in this pod")
    install(pod, plans)


def twice(pod: Target, plans: Sequence[Plan]) -> None:
    """Load, and load again."""
    install(pod, plans)
    install(pod, plans)


def first_family_at_least(pod: Target, plans: Sequence[Plan]) -> None:
    """Leave the families that were loaded when a later one fails."""
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
