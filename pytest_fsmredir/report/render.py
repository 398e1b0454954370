"""Render a comparison as plain text, as Markdown and as HTML."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from functools import cache

import jinja2

from pytest_fsmredir.report.changes import Kind
from pytest_fsmredir.report.compare import Comparison, Step
from pytest_fsmredir.text import counted, one_line, printable

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~&])")
_AT_MOST = 50  # changes of one kind in a text; HTML and Markdown have all


def as_text(comparison: Comparison) -> str:
    """Return a comparison for a terminal."""
    lines = [*_facts(comparison), *_steps(comparison)]
    if len(comparison.lines) and len(comparison.steps) < len(comparison.reports) - 1:
        lines += ["", f"not the same everywhere: {counted(len(comparison.lines), 'row')}"]
        lines += [
            f"  {line.check:<9} {line.variant!s:<18} {' | '.join(line.outcomes)}"
            for line in comparison.lines
        ]
    return printable("\n".join([*lines, "", conclusion(comparison)])) + "\n"


def as_markdown(comparison: Comparison) -> str:
    """Return a comparison in Markdown, for a comment on a pull request."""
    return template("compare.md").render(
        it=comparison, kinds=list(Kind), conclusion=conclusion(comparison)
    )


def as_html(comparison: Comparison) -> str:
    """Return a comparison as one HTML file that needs no network."""
    page = template("compare.html").render(
        it=comparison, kinds=list(Kind), conclusion=conclusion(comparison)
    )
    return printable(page)


FORMATS: dict[str, Callable[[Comparison], str]] = {
    "text": as_text,
    "markdown": as_markdown,
    "html": as_html,
}
"""How to render a comparison, by the name of the format."""


def conclusion(comparison: Comparison) -> str:
    """Return the result in one sentence."""
    if not comparison.steps:
        return "No two reports are of the same project, so nothing can regress."
    worse = [step for step in comparison.steps if step.regressed]
    if not worse:
        return "No regression."
    return "Regression: " + ", ".join(_named(comparison, step, "to") for step in worse) + "."


def markdown(text: object) -> str:
    """Return text for Markdown, in which no character has a special meaning."""
    return _SPECIAL.sub(r"\\\1", one_line(str(text)))


def _facts(comparison: Comparison) -> Iterator[str]:
    names = [comparison.label(report) for report in comparison.reports]
    rows = [("", *names), *((fact.name, *fact.values) for fact in comparison.facts)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _steps(comparison: Comparison) -> Iterator[str]:
    for step in comparison.steps:
        yield from ["", _named(comparison, step, "->")]
        if not step.changes:
            yield "  every outcome is the same"
        yield from _changes(step)


def _named(comparison: Comparison, step: Step, sign: str) -> str:
    return f"{comparison.label(step.before)} {sign} {comparison.label(step.after)}"


def _changes(step: Step) -> Iterator[str]:
    for kind in Kind:
        found = step.of_kind(kind)
        if found:
            yield f"  {kind}: {len(found)}"
        for change in found[:_AT_MOST]:
            was, now = change.before or "-", change.after or "-"
            yield f"    {change.check:<9} {change.variant!s:<18} {was} -> {now}  {change.title}"
        if len(found) > _AT_MOST:
            yield f"    ... and {len(found) - _AT_MOST} more"


@cache
def template(name: str) -> jinja2.Template:
    """Return a template of the package; it escapes what it fills into HTML and SVG.

    Args:
        name: The file in the folder of templates, without ``.j2``.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pytest_fsmredir.report"),
        autoescape=name.endswith((".html", ".svg")),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["md"] = markdown
    environment.filters["shell"] = shlex.join
    return environment.get_template(f"{name}.j2")
