"""Find the shipped folders: next to the package in a checkout, inside it when installed.

Also load modules from them without compiling each anew in every run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import cache_from_source
from pathlib import Path
from types import CodeType, ModuleType

from pytest_fsmredir.errors import FsmRedirError

_PACKAGE = Path(__file__).resolve().parent
_PREFIX = f"{_PACKAGE.name}."


def conformance() -> Path:
    """Return the folder of SPEC.md and the checks."""
    return _shipped("conformance")


def fixtures() -> Path:
    """Return the folder of data files."""
    return _shipped("fixtures")


class CompiledLoader(SourceFileLoader):
    """Keeps a compiled module in the user's cache if it cannot be kept next to its source.

    That is so with PYTHONDONTWRITEBYTECODE, and in a directory that belongs to somebody else.
    """

    def get_code(self, fullname: str) -> CodeType | None:
        """Return the code of a module."""
        kept = None if _is_kept_by_python(self.get_filename(fullname)) else _user_cache()
        if kept is None:
            return super().get_code(fullname)
        before = sys.pycache_prefix, sys.dont_write_bytecode
        sys.pycache_prefix, sys.dont_write_bytecode = kept, False
        try:
            return super().get_code(fullname)
        finally:
            sys.pycache_prefix, sys.dont_write_bytecode = before


class CompiledFinder(MetaPathFinder):
    """Finds the modules of this package before the import hook of pytest does.

    That hook compiles all modules of a plugin for assertions, which these have not. It uses no file
    that was compiled when the plugin was installed.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where a module is; None for those of others."""
        if not fullname.startswith(_PREFIX):
            return None
        found = PathFinder.find_spec(fullname, path, target)
        if found is not None and type(found.loader) is SourceFileLoader:
            found.loader = CompiledLoader(fullname, found.loader.path)
        return found


def _is_kept_by_python(source: str) -> bool:
    """Whether Python itself finds or keeps the compiled file of a source."""
    if sys.pycache_prefix is not None:
        return True
    compiled = cache_from_source(source)
    can_be = not sys.dont_write_bytecode and os.access(Path(source).parent, os.W_OK)
    return can_be or Path(compiled).exists()


@cache
def _user_cache() -> str | None:
    """Return the folder of the user's cache; None if it is that of another user, as after su."""
    try:
        parent = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        own = parent.stat().st_uid == os.geteuid()
    except (OSError, RuntimeError):  # RuntimeError: a user without a home, as in a container
        return None
    return str(parent / "pytest-fsmredir") if own else None


def _shipped(name: str) -> Path:
    # An editable install leaves the folders where they are in the checkout.
    for parent in (_PACKAGE, _PACKAGE.parent):
        if (parent / name).is_dir():
            return parent / name
    raise FsmRedirError(f"this installation lacks its folder {name!r}; reinstall pytest-fsmredir")
