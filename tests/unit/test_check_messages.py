"""Every assertion in a check explains itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).parents[2] / "conformance").rglob("*.py"))


def silent(source: str) -> Iterator[str]:
    """Yield the assertions that have neither a message nor only claims about fates."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assert) and node.msg is None and not _is_claim(node.test):
            yield ast.unparse(node)


def _is_claim(test: ast.expr) -> bool:
    """Whether an expression is ``fate.direct`` or ``fate.passed(...)``, or ends with one."""
    if isinstance(test, ast.BoolOp):
        return isinstance(test.op, ast.Or) and _is_claim(test.values[-1])
    return isinstance(test.func if isinstance(test, ast.Call) else test, ast.Attribute)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_assertion_is_a_claim_or_has_a_message(file: Path) -> None:
    """Catches: a failure that shows ``6379 == 5305`` and no explanation."""
    assert list(silent(file.read_text(encoding="utf-8"))) == []


def test_assertions_without_a_message_are_found() -> None:
    """Catches: a search for silent assertions that finds none."""
    source = "assert port == 5305\nassert a.direct or b.passed(1)\nassert not x, 'x'\nassert all(x)"
    assert list(silent(source)) == ["assert port == 5305", "assert all(x)"]
