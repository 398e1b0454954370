"""The plan of one run: the implementation under test, the checks and the variants."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_fsmredir.backends.needs import Need
from pytest_fsmredir.config.settings import Settings
from pytest_fsmredir.implementations.base import Implementation, IptablesVariant
from pytest_fsmredir.implementations.select import Claims, ClaimSource
from pytest_fsmredir.model.checks import Catalogue, Check, Profile
from pytest_fsmredir.model.features import Feature
from pytest_fsmredir.model.outcomes import Variant


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The plan of a run. It does not change during the run.

    Attributes:
        settings: The user's settings.
        catalogue: All checks, including generated ones.
        implementation: The implementation under test.
        variants: The points of the test matrix.
        claims: The claims of the implementation, after the user's changes.
        generated: The checks that are generated for this run.
        is_worker: Whether this process is a worker of pytest-xdist. The controller owns the kind
            cluster that all workers share.
    """

    settings: Settings
    catalogue: Catalogue
    implementation: Implementation
    variants: tuple[Variant, ...]
    claims: Claims
    generated: tuple[Check, ...] = ()
    is_worker: bool = False

    @property
    def features(self) -> frozenset[Feature]:
        """The features that the implementation claims."""
        return self.claims.features

    @property
    def packaged(self) -> Catalogue:
        """The checks without the generated ones, so that equal suites have equal digests."""
        return Catalogue(check for check in self.catalogue.checks if check not in self.generated)

    @property
    def declared(self) -> bool:
        """Whether the claims are declared by the user, not inferred."""
        return self.claims.source is ClaimSource.DECLARED

    @property
    def nodes(self) -> dict[str, tuple[str, ...]]:
        """The names of the nodes to run on, by backend; empty if the scheduler chooses."""
        found: dict[str, dict[str, None]] = {}
        for variant in self.variants:
            if variant.node:
                found.setdefault(variant.backend, {})[variant.node] = None
        return {backend: tuple(names) for backend, names in found.items()}

    def variants_of(self, check: Check) -> list[Variant]:
        """Return the variants on which a check runs."""
        return [
            variant
            for variant in self.variants
            if concerns(check, variant) and self.selects(check, variant)
        ]

    def selects(self, check: Check, variant: Variant) -> bool:
        """Whether the user selected a check on a variant."""
        return self.settings.selects(check.id, check.profile_for(variant.family))

    def unclaimed(self, check: Check, variant: Variant) -> frozenset[Feature]:
        """Return the features that a check needs on a variant and that are not claimed."""
        return check.unclaimed(variant.family, self.features, declared=self.declared)


def concerns(check: Check, variant: Variant) -> bool:
    """Whether a check has a result on a variant.

    A check about Kubernetes needs a cluster. A check about the other iptables variant needs
    iptables.
    """
    in_place = variant.in_kubernetes or check.profile is not Profile.KUBERNETES
    natively = variant.iptables == IptablesVariant.NATIVE
    meant = not (natively and Need.BOTH_VARIANTS in check.needs)
    return in_place and meant and variant.family in check.families
