"""A mutant, and the implementation that it makes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pytest_fsmredir.errors import ConfigurationError
from pytest_fsmredir.implementations.base import Refused, Target
from pytest_fsmredir.model.configuration import Configuration
from pytest_fsmredir.model.features import ALL_FEATURES, Feature
from pytest_fsmredir.model.policy import Policy
from tests.mutants.changes import Change, unchanged
from tests.mutants.correct import Case, correct
from tests.mutants.loading import Edit, Load, Plan, install

Read = Callable[[Configuration, Sequence[Configuration]], Policy]
"""A function of a pod's configuration and of those of earlier pods that returns its policy."""

_WRITABLE = re.compile(r"[A-Za-z0-9_.@-]+")


def read(configuration: Configuration, earlier: Sequence[Configuration]) -> Policy:
    """Return the policy of a configuration."""
    del earlier
    return configuration.policy()


def same_policy(policy: Policy) -> Policy:
    """Return the policy as it is."""
    return policy


def same_text(text: str) -> str:
    """Return the text as it is."""
    return text


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One named change to the correct implementation.

    Attributes:
        name: In kebab case.
        what: The change, in one line.
        source: A real occurrence: a row of docs/reference/known-bugs.md (B01, F01), or its
            description.
        read: The function that reads the configuration.
        policy: A change to the policy.
        rules: A change to the rules of each family.
        text: A change to the text that is loaded.
        families: The IP versions that are programmed, if the pod has them.
        load: The way to load the rules.
        privileged: Whether it runs in a privileged init container.
        argument: Why no packet shows a difference from the original, or why the specification
            permits the difference; empty for a mutant that the suite must kill.
    """

    name: str
    what: str
    source: str
    read: Read = read
    policy: Callable[[Policy], Policy] = same_policy
    rules: Change = unchanged
    text: Edit = same_text
    families: tuple[int, ...] = (4, 6)
    load: Load = install
    privileged: bool = False
    argument: str = ""

    @property
    def killable(self) -> bool:
        """Whether the suite must kill it."""
        return not self.argument

    def rules_for(self, case: Case) -> Plan:
        """Return the rules for one family of a pod."""
        changed = Case(self.policy(case.policy), case.family, case.addresses)
        return Plan(case.family, self.rules(correct(changed), changed), self.text)


class MutantImplementation:
    """A mutant as an implementation that claims every feature.

    Attributes:
        name: The mutant's.
        features: What it claims.
    """

    def __init__(
        self, mutant: Mutant, features: frozenset[Feature] = ALL_FEATURES - {Feature.REMOVAL}
    ) -> None:
        self.name, self.features = mutant.name, features
        self._mutant = mutant
        self._earlier: list[Configuration] = []

    def program(self, target: Target) -> None:
        """Program a pod.

        Raises:
            Refused: The configuration cannot be honoured, or the rules did not load.
        """
        policy = self._read(target.configuration)
        plans = []
        for family in self._mutant.families:
            own = tuple(a for a in target.addresses if (":" in a) == (family == 6))
            if own:
                plans.append(self._mutant.rules_for(Case(policy, family, own)))
        self._mutant.load(target, plans)

    def _read(self, configuration: Configuration) -> Policy:
        try:
            policy = self._mutant.read(configuration, tuple(self._earlier))
        except ConfigurationError as why:
            raise Refused(str(why)) from None
        for name in policy.network_interface_exclusion_list:
            if not _WRITABLE.fullmatch(name):
                raise Refused(f"interface name {name!r} cannot be written as a rule")
        self._earlier.append(configuration)
        return policy
