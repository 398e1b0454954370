"""Describe the checks without running them: the list, and one check in full."""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Iterator

from pytest_fsmredir.errors import SettingsError
from pytest_fsmredir.model.checks import Catalogue, Check
from pytest_fsmredir.model.document import Sentence
from pytest_fsmredir.report.flow_table import table
from pytest_fsmredir.suite.catalogue import document, file_of
from pytest_fsmredir.suite.dry_run import recorded
from pytest_fsmredir.text import nearest

_TOPOLOGY = """\
pod [ application, uid 1000 | sidecar, uid 1500: 15001 outbound, 15003 inbound ]
  | eth0
world [ server and client: every remote address answers ]"""


def listing(catalogue: Catalogue, style: str) -> str:
    """Return all checks, as a table or as JSON."""
    if style == "json":
        return json.dumps([check.as_dict() for check in catalogue.checks], indent=2)
    lines = [
        f"{check.id:<9} {check.level:<6} {check.profile:<11} {check.title}"
        for check in catalogue.checks
    ]
    return "\n".join([*lines, f"{len(lines)} checks, catalogue {catalogue.digest[:12]}"])


def explanation(catalogue: Catalogue, check_id: str) -> str:
    """Return the full description of one check: requirement, source, topology, flows, fates.

    Raises:
        SettingsError: No check has that id.
    """
    if check_id not in catalogue:
        known = [check.id for check in catalogue.checks]
        raise SettingsError(
            f"--fsm-explain: no check is called {check_id!r}{nearest(check_id, known)};"
            " see --fsm-list"
        )
    check = catalogue[check_id]
    sentence = document()[check.spec]
    parts = [
        f"{check.id}  {check.title}",
        _field("requirement", check.requirement),
        _field("sentence", f"{sentence.id}: {sentence.text}"),
        _field("source", _source(sentence)),
        _field("level", f"{check.level}, profile {check.profile}"),
        _field("applies to", _conditions(check)),
        "topology\n" + textwrap.indent(_TOPOLOGY, "  "),
        "pods, flows and expected fates\n" + textwrap.indent(table(recorded(check)), "  "),
        *(_field("  where", text) for text in _helpers(check)),
        _field("file", str(file_of(check))),
        _field("run it", f"pytest --fsm-conformance --fsm-check {check.id}"),
    ]
    return "\n".join(parts)


def _field(name: str, text: str) -> str:
    return textwrap.fill(
        text, 100, initial_indent=f"{name:<13}", subsequent_indent=" " * 13, break_long_words=False
    )


def _source(sentence: Sentence) -> str:
    if sentence.seed:
        return f'the FSM document, "{sentence.seed}"'
    return f"our reading, because {sentence.reason}"


def _conditions(check: Check) -> str:
    families = " and ".join(f"IPv{family}" for family in check.families)
    claims = f"; implementations that claim {', '.join(sorted(check.features))}"
    needs = f"; backends with: {', '.join(sorted(check.needs))}"
    return families + (claims if check.features else "") + (needs if check.needs else "")


def _helpers(check: Check) -> Iterator[str]:
    """Yield a description of each function in the check's file that the check uses."""
    function = check.function
    for name in function.__code__.co_names:
        helper = function.__globals__.get(name)
        if not inspect.isfunction(helper) or helper.__module__ != function.__module__:
            continue
        if summary := inspect.getdoc(helper):
            yield f"{name}: {summary.splitlines()[0]}"
