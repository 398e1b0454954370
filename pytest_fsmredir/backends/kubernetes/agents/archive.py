"""Pack the part of this package that runs in pods into one executable zip archive."""

from __future__ import annotations

import io
import marshal
import zipapp
import zipfile
from functools import cache
from importlib import import_module
from importlib.util import MAGIC_NUMBER, source_hash
from pathlib import Path

import pytest_fsmredir

_PACKAGE = Path(pytest_fsmredir.__file__).parent
_SHIPPED = (
    "__init__.py", "errors.py", "procs.py", "agent", "traffic", "model", "implementations",
    "sidecars/__init__.py", "sidecars/recorder.py",
    "backends/__init__.py", "backends/kubernetes/__init__.py",
    "backends/kubernetes/pods/__init__.py", "backends/kubernetes/pods/injection.py",
    *(f"reference_mesh/{name}.py" for name in (
        "__init__", "admission", "api", "roles", "sidecar", "webhook"
    )),
)  # fmt: skip
_MAIN = """\
import sys
if sys.argv[1:2] == ["reference"]:
    from pytest_fsmredir.implementations.reference.command import main
    sys.exit(main(sys.argv[2:]))
if sys.argv[1:2] == ["rules"]:
    sys.path.append(sys.argv[2])
    from pytest_fsmredir.implementations.rules_command import main
    sys.exit(main(sys.argv[3:]))
if sys.argv[1:2] == ["mesh"]:
    from pytest_fsmredir.reference_mesh.roles import main
    sys.exit(main(sys.argv[2:]))
from pytest_fsmredir.agent.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


@cache
def agent_archive() -> bytes:
    """Return the executable archive.

    Its actions are ``stdio NAME``, ``serve NAME``, ``observe ARGUMENTS``, ``reference apply``,
    ``rules LIBRARIES FILE`` and ``mesh ROLE``.

    Any Python from 3.11 on can run it. A Python of this minor version need not compile the modules
    first, which takes half of the start time. The same sources and Python give the same archive.
    """
    plain = io.BytesIO()
    with zipfile.ZipFile(plain, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in _files():
            _add_module(archive, file, _PACKAGE.parent)
        _add(archive, "__main__.py", _MAIN.encode())
    plain.seek(0)
    executable = io.BytesIO()
    zipapp.create_archive(plain, executable, interpreter="/usr/bin/env python3")
    return executable.getvalue()


def template_libraries() -> bytes:
    """Return a zip archive of Jinja2 as installed here, which the action ``rules`` needs."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for package in ("jinja2", "markupsafe"):  # both work without their compiled parts
            (folder,) = map(Path, import_module(package).__path__)
            for file in sorted(folder.rglob("*.py")):
                # Without docstrings: both archives share a ConfigMap, which holds 1 MiB.
                _add_module(archive, file, folder.parent, optimize=2)
    return packed.getvalue()


def _add_module(archive: zipfile.ZipFile, file: Path, root: Path, *, optimize: int = 0) -> None:
    name, source = str(file.relative_to(root)), file.read_bytes()
    _add(archive, name, source)
    _add(archive, f"{name}c", _compiled(source, name, optimize))


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name)  # with the date 1980-01-01, so that the archive is reproducible
    entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, content)


def _compiled(source: bytes, name: str, optimize: int) -> bytes:
    """Return the bytecode of a module; a Python of another version uses the source instead.

    The bytecode is an unchecked hash-based pyc (PEP 552), because times in the archive are fixed.
    """
    code = marshal.dumps(compile(source, name, "exec", dont_inherit=True, optimize=optimize))
    flags = (1).to_bytes(4, "little")
    return MAGIC_NUMBER + flags + source_hash(source) + code


def _files() -> list[Path]:
    found: list[Path] = []
    for name in _SHIPPED:
        path = _PACKAGE / name
        found += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return [file for file in found if not file.is_relative_to(_PACKAGE / "model" / "redacting")]
