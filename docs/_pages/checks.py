"""The page of checks, from the catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from pytest_fsmredir.model.checks import Check
from pytest_fsmredir.model.document import Sentence
from pytest_fsmredir.suite import catalogue

_HEAD = """\
# The checks

Generated from the code by `python -m docs.generate`. A check's id never changes its meaning and is
never reused. An IPv6 run of a check counts under the profile `ipv6`.
"""


def page() -> str:
    """Return the whole page."""
    spec = catalogue.document()
    order = list(spec)
    checks = sorted(catalogue.load().checks, key=lambda check: (order.index(check.spec), check.id))
    parts = [_HEAD, f"{len(checks)} checks of {len(spec)} sentences.\n"]
    for section, members in groupby(checks, key=lambda check: spec[check.spec].section):
        parts.append(f"## {section}\n")
        parts += _section(members, spec)
    return "\n".join(parts)


def _section(checks: Iterator[Check], spec: dict[str, Sentence]) -> Iterator[str]:
    for sentence_id, members in groupby(checks, key=lambda check: check.spec):
        yield f"**{sentence_id}** {spec[sentence_id].text}\n"
        for check in members:
            families = "" if check.families == (4, 6) else f", IPv{check.families[0]} only"
            claims = f", claims {', '.join(sorted(check.features))}" if check.features else ""
            yield f"- `{check.id}` {check.requirement} *({check.profile}{families}{claims})*"
        yield ""
