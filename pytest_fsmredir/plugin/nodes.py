"""Run the checks node by node, and print the verdict of each node after its last check."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import pytest

from pytest_fsmredir.plugin.collection import CheckItem
from pytest_fsmredir.report.terminal import print_node
from pytest_fsmredir.suite.judgement import judge_node
from pytest_fsmredir.suite.plan import Plan
from pytest_fsmredir.suite.results import Results

_Node = tuple[str, str]


def in_turn(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Return items so that the checks of a node follow each other, after those without a node.

    The order is otherwise unchanged, and every item that is not a check keeps its place.
    """
    checks = [item for item in items if isinstance(item, CheckItem)]
    places = {node: place for place, node in enumerate(dict.fromkeys(map(_node, checks)))}
    checks.sort(key=lambda item: (bool(item.variant.node), places[_node(item)]))
    following = iter(checks)
    return [next(following) if isinstance(item, CheckItem) else item for item in items]


class NodeVerdicts:
    """Prints the verdict of each node after its last check.

    Args:
        plan: The plan of the run.
        results: The results so far.
    """

    def __init__(self, plan: Plan, results: Results) -> None:
        self._plan, self._results = plan, results
        self._nodes: dict[str, _Node] = {}
        self._left: Counter[_Node] = Counter()

    def expect(self, items: Iterable[pytest.Item]) -> None:
        """Learn which checks will run, if there are several nodes."""
        checks = [item for item in items if isinstance(item, CheckItem) and item.variant.node]
        nodes = {item.nodeid: _node(item) for item in checks}
        if len(set(nodes.values())) > 1:
            self._nodes, self._left = nodes, Counter(nodes.values())

    def ended(self, nodeid: str, reporter: pytest.TerminalReporter | None) -> None:
        """Print the verdict of a node if this was its last check."""
        node = self._nodes.pop(nodeid, None)
        if node is None:
            return
        self._left[node] -= 1
        if not self._left[node] and reporter is not None and reporter.verbosity >= 0:
            reporter.ensure_newline()
            print_node(reporter, judge_node(self._plan, self._results, *node))


def _node(item: CheckItem) -> _Node:
    return item.variant.backend, item.variant.node
