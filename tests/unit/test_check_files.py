"""The files of checks: how they are loaded, and what an assertion in them shows."""

from __future__ import annotations

import ast
import pickle
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_fsmredir import layout
from pytest_fsmredir.suite import catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES = sorted(layout.conformance().glob("test_*.py"))


def silent_assertions(file: Path) -> Iterator[str]:
    """Yield each assertion that compares or negates values and has no message."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Assert) and node.msg is None:
            negates = isinstance(node.test, ast.UnaryOp) and isinstance(node.test.op, ast.Not)
            if negates or isinstance(node.test, ast.Compare):
                yield f"{file.name}:{node.lineno}: {ast.unparse(node.test)}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_assertion_is_a_claim_or_has_a_message(file: Path) -> None:
    """Catches: a failure that shows ``6379 == 5305``, or its source and no value."""
    assert list(silent_assertions(file)) == []


def test_checks_keep_their_assertions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: checks without assertions, from ``python -O`` or from a compiled file of it."""
    (tmp_path / "test_file.py").write_text("def check():\n    assert False, 'seen'\n")
    stripped = tmp_path / "__pycache__" / f"test_file.{sys.implementation.cache_tag}.pyc"
    stripped.parent.mkdir()
    stripped.write_bytes(b"never read")
    monkeypatch.setattr(layout, "conformance", lambda: tmp_path)
    monkeypatch.delitem(sys.modules, f"{catalogue.PACKAGE}.test_file", raising=False)
    module = catalogue.load_module.__wrapped__("test_file")
    del sys.modules[module.__name__]
    with pytest.raises(AssertionError, match="seen"):
        module.check()


def test_check_functions_can_be_pickled() -> None:
    """Catches: checks that a tool cannot send to a process that has loaded the catalogue too."""
    function = catalogue.load()["OUT-001"].function
    assert pickle.loads(pickle.dumps(function)) is function  # noqa: S301 - we wrote it
