"""Load the files of checks, and keep their assertions."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pytest

from pytest_fsmredir import layout
from pytest_fsmredir.suite import catalogue


def test_checks_keep_their_assertions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: checks that lose their assertions under ``python -O`` or from its .pyc files."""
    folder = tmp_path / "s01_section"
    folder.mkdir()
    (folder / "file.py").write_text("def check():\n    assert False, 'seen'\n")
    stripped = folder / "__pycache__" / f"file.{sys.implementation.cache_tag}.pyc"
    stripped.parent.mkdir()
    stripped.write_bytes(b"never read")
    monkeypatch.setattr(layout, "conformance", lambda: tmp_path)
    monkeypatch.delitem(sys.modules, f"{catalogue.PACKAGE}.s01_section.file", raising=False)
    module = catalogue.load_module.__wrapped__("s01_section.file")
    del sys.modules[module.__name__]
    with pytest.raises(AssertionError, match="seen"):
        module.check()


def test_check_functions_can_be_pickled() -> None:
    """Catches: check functions that a tool cannot send to another process."""
    function = catalogue.load()["OUT-001"].function
    assert pickle.loads(pickle.dumps(function)) is function  # noqa: S301 - we wrote it
