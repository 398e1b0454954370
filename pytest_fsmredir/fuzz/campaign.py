"""A campaign: many generated configurations, and the smallest that shows a disagreement."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, replace

import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity
from hypothesis.database import InMemoryExampleDatabase
from hypothesis.strategies import SearchStrategy

from pytest_fsmredir.fuzz.strategies import configurations
from pytest_fsmredir.fuzz.trial import Disagreement, NewStage, Trials, settings_text, simplicity
from pytest_fsmredir.spec.checks import Level
from pytest_fsmredir.spec.configuration import Configuration
from pytest_fsmredir.spec.features import ALL_FEATURES, Feature

SHRINK_EFFORT = 300
"""How many further configurations may be tried to find a smaller one."""

_EFFORT_OF_SILENCE = 20  # a flow that nobody answers takes as long as so many configurations
_ENTROPY = 16 * 1024  # bytes that a configuration is drawn from; the largest takes about half


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignResult:
    """What a campaign came to.

    Attributes:
        seed: What it was drawn from.
        policies: Configurations drawn, up to the first that showed a disagreement.
        pods: Pods made, those to shrink a disagreement included.
        flows: Flows judged on them.
        seconds: How long it took.
        disagreement: The smallest found; None when implementation and specification agree.
    """

    seed: int
    policies: int
    pods: int
    flows: int
    seconds: float
    disagreement: Disagreement | None

    def __str__(self) -> str:
        how = "agreed" if self.disagreement is None else f"disagreed: {self.disagreement}"
        return (
            f"{self.policies} policies of seed {self.seed}, {self.pods} pods, {self.flows} flows in"
            f" {self.seconds:.1f} s: {how}"
        )


class Campaign:
    """Generates configurations and tries each once.

    A second search through the same policies, for disagreements of another level, makes no pods
    but to shrink what it finds.
    """

    def __init__(
        self,
        new_stage: NewStage,
        *,
        features: frozenset[Feature] = ALL_FEATURES,
        families: tuple[int, ...] = (4, 6),
        shrink_effort: int = SHRINK_EFFORT,
    ) -> None:
        """Take what there is to try on.

        Args:
            new_stage: Makes a pod for a configuration, which ends with its block.
            features: What the implementation claims.
            families: Of the IP ranges; without a claim to IPv6 those of IPv6 may be refused, and
                stay away.
            shrink_effort: How many further configurations may be tried to find a smaller one.
        """
        if Feature.IPV6 not in features:
            families = tuple(family for family in families if family != 6)
        self._trials = Trials(new_stage, features)
        self._strategy = configurations(families=families, features=features)
        self._shrink_effort = shrink_effort
        self._known: dict[str, dict[Level, Disagreement]] = {}
        self._effort_left: int | None = None

    @property
    def flows(self) -> int:
        """Flows judged in all searches."""
        return self._trials.flows

    def search(self, *, policies: int, seed: int, level: Level) -> CampaignResult:
        """Try configurations until one shows a disagreement of a level, and shrink that.

        Args:
            policies: How many at most; whatever the number, a seed begins with the same ones.
            seed: What they are drawn from.
            level: Disagreements of other levels are passed over.
        """
        started, pods, flows = time.monotonic(), self._trials.pods, self._trials.flows
        self._effort_left = None

        def shows_one(configuration: Configuration) -> bool:
            return level in self._tried(configuration)

        drawn = _Draws(self._strategy, seed, shows_one)
        tried = drawn.first(policies)
        found: Disagreement | None = None
        if drawn.found is not None:
            self._effort_left = self._shrink_effort
            found = self._explained(drawn.smallest(), level)
        return CampaignResult(
            seed=seed,
            policies=tried,
            pods=self._trials.pods - pods,
            flows=self._trials.flows - flows,
            seconds=time.monotonic() - started,
            disagreement=found,
        )

    def _tried(self, configuration: Configuration) -> dict[Level, Disagreement]:
        """Return the first disagreement of each level, and none after one on a MUST."""
        key = settings_text(configuration)
        if key in self._known:
            return self._known[key]
        if self._effort_left is not None and self._effort_left <= 0:
            return {}
        found: dict[Level, Disagreement] = {}
        with closing(self._trials.disagreements(configuration)) as disagreements:
            for disagreement in disagreements:
                found.setdefault(disagreement.level, disagreement)
                if disagreement.level is Level.MUST:
                    break
        self._known[key] = found
        if self._effort_left is not None:
            silent = any(each.is_silence for each in found.values())
            self._effort_left -= _EFFORT_OF_SILENCE if silent else 1
        return found

    def _explained(self, configuration: Configuration, level: Level) -> Disagreement:
        """Return the simplest disagreement on a configuration, every destination listening."""
        every = self._trials.disagreements(configuration, listening=True)
        again = [each for each in every if each.level is level]
        if again:
            return min(again, key=lambda each: simplicity(each.probe))
        once = self._known[settings_text(configuration)][level]
        return replace(once, seen=f"{once.seen}, but not when tried again")


class _Draws:
    """Configurations drawn one after the other until a wanted one is found.

    hypothesis is given the bytes to draw from. Left to itself it draws constants from whatever
    source code is loaded, and a seed would mean something else in every project.

    Attributes:
        found: The wanted one that was drawn last.
    """

    def __init__(
        self,
        strategy: SearchStrategy[Configuration],
        seed: int,
        is_wanted: Callable[[Configuration], bool],
    ) -> None:
        self.found: Configuration | None = None
        self._seed = seed

        @hypothesis.settings(
            database=InMemoryExampleDatabase(),
            deadline=None,
            phases=(Phase.reuse, Phase.shrink),
            print_blob=False,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
            verbosity=Verbosity.quiet,
        )
        @hypothesis.seed(seed)  # this one below, because it takes the database away
        @hypothesis.given(strategy)
        def draw(configuration: Configuration) -> None:
            if is_wanted(configuration):
                self.found = configuration
                raise _Found

        self._draw = draw

    def first(self, count: int) -> int:
        """Draw up to a number of configurations, the empty one first, and return how many.

        The first wanted one ends it.
        """
        draw_from = self._draw.hypothesis.fuzz_one_input  # type: ignore[attr-defined]  # not typed
        source = random.Random(self._seed)  # noqa: S311 - no secret
        drawn = 0
        with suppress(_Found):
            for number in range(count):
                entropy = source.randbytes(_ENTROPY) if number else bytes(_ENTROPY)
                drawn += 1
                draw_from(entropy)
        return drawn

    def smallest(self) -> Configuration:
        """Return the smallest wanted configuration that can be made from the one found."""
        with suppress(_Found):
            self._draw()  # hypothesis replays what it was found with, and shrinks it
        if self.found is None:
            raise ValueError("nothing was found that could be shrunk")
        return self.found


class _Found(Exception):
    """A wanted configuration was drawn."""
