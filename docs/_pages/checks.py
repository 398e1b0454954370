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
never reused; it links to the file of the check. An IPv6 run counts under the profile `ipv6`. On a
backend that does not meet its needs, a check is "not run".
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
        yield from map(_entry, members)
        yield ""


def _entry(check: Check) -> str:
    families = [] if check.families == (4, 6) else [f"IPv{check.families[0]} only"]
    claims = [f"claims {', '.join(sorted(check.features))}"] if check.features else []
    needs = [f"needs: {'; '.join(sorted(check.needs))}"] if check.needs else []
    facts = ", ".join([check.level, check.profile, *families, *claims, *needs])
    file = f"../../conformance/{catalogue.file_of(check).as_posix()}"
    name = f'<a id="{check.id.lower()}"></a>[`{check.id}`]({file})'
    return f"- {name} {check.requirement} *({facts})*"
