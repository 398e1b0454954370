"""How JUnit XML names the results: what its writer and the check of a report share."""

from __future__ import annotations

from pytest_fsmredir.model.outcomes import Outcome, Variant

SKIPPED = (Outcome.UNSUPPORTED, Outcome.WAIVED, Outcome.NOT_RUN)


def suite_name(variant: Variant) -> str:
    """Return the name of the suite of a variant."""
    return f"{variant.where}/{variant.iptables}-v{variant.family}"
