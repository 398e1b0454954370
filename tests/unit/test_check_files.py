"""Load the files of checks, and keep their assertions."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from types import CodeType

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


def test_module_is_compiled_once_where_nothing_may_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches: hundreds of files compiled in every run, or compiled files next to the sources."""
    source = tmp_path / "sources" / "module.py"
    source.parent.mkdir()
    source.write_text("value = 1\n")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(sys, "pycache_prefix", None)
    monkeypatch.setattr(layout, "_user_cache", layout._user_cache.__wrapped__)
    compiled: list[Path] = []

    def counted(_loader: object, data: bytes, path: str) -> CodeType:
        compiled.append(Path(path))
        code: CodeType = compile(data, path, "exec")
        return code

    monkeypatch.setattr(layout.CompiledLoader, "source_to_code", counted)
    for _ in range(2):
        assert layout.CompiledLoader("module", str(source)).get_code("module") is not None
    assert len(compiled) == len([*(tmp_path / "cache").rglob("*.pyc")]) == 1
    assert [*source.parent.iterdir()] == [source]
    assert sys.dont_write_bytecode
    assert sys.pycache_prefix is None


def test_user_without_a_home_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: a run that does not start in a container whose user has no entry in passwd."""

    def no_home(_path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "expanduser", no_home)
    assert layout._user_cache.__wrapped__() is None


def test_modules_of_others_are_left_to_others() -> None:
    """Catches: a finder that changes how the tests of a user are imported."""
    finder = layout.CompiledFinder()
    assert finder.find_spec("json.decoder", None) is None
    assert finder.find_spec("pytest_fsmredirect", None) is None
