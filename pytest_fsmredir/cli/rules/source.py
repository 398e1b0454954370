"""Get the rules to ask about, with their pod and its policy: from a file or a running pod."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from pytest_fsmredir.cli.rules import options
from pytest_fsmredir.errors import PreflightError, SettingsError
from pytest_fsmredir.model.policy import Policy
from pytest_fsmredir.rules.pod import Surroundings
from pytest_fsmredir.rules.reading import read_file
from pytest_fsmredir.rules.ruleset import RuleSet


@dataclass(frozen=True, slots=True)
class Source:
    """Rules, and the pod that they are for.

    Attributes:
        rules: The rules.
        policy: The policy of the pod; None if no mesh redirects its traffic.
        pod: The pod.
        families: The IP versions to ask about.
        headline: One line about a running pod; empty for a file.
    """

    rules: RuleSet
    policy: Policy | None
    pod: Surroundings
    families: tuple[int, ...]
    headline: str = ""

    def required_policy(self) -> Policy:
        """Return the policy.

        Raises:
            PreflightError: The document does not apply to the pod.
        """
        if self.policy is None:
            raise PreflightError(f"{self.headline}; rules show prints its rules")
        return self.policy


def source(arguments: argparse.Namespace) -> Source:
    """Read the file or the pod that the options name.

    Raises:
        SettingsError: The options name both or neither, or contradict each other.
        RulesError: The rules cannot be read.
        PreflightError: The pod does not exist or does not run, or the client is not installed.
        BackendError: The pod takes no container that may read its rules.
    """
    if (arguments.file is None) == (arguments.pod is None):
        raise SettingsError("give either a FILE or --pod NAMESPACE/NAME")
    if arguments.pod is None:
        rules = read_file(arguments.file, arguments.family)
        policy = options.policy(arguments)
        return Source(rules, policy, options.surroundings(arguments, rules), families_of(rules))
    given = [n for n in ("annotation", "mesh_config", "address") if getattr(arguments, n)]
    if given:
        option = f"--{given[0].replace('_', '-')}"
        raise SettingsError(f"{option} is for a FILE: with --pod the cluster answers this")
    try:
        from pytest_fsmredir.cli.rules.running_pod import read_pod
    except ImportError as error:
        raise PreflightError(
            f"{error.name} is missing; install it: pip install 'pytest-fsmredir[kind]'"
        ) from None
    return read_pod(arguments)


def families_of(rules: RuleSet) -> tuple[int, ...]:
    """Return the IP versions that rules are for; IPv4 if there are no rules."""
    found = {f for chain in rules.chains.values() if chain.hook for f in chain.families}
    return tuple(sorted(found)) or (4,)
