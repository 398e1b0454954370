"""Load the packaged checks."""

from __future__ import annotations

import sys
from functools import cache
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import CodeType, ModuleType

from pytest_fsmredir import layout
from pytest_fsmredir.model.checks import Catalogue, Check
from pytest_fsmredir.model.document import Sentence, sentences
from pytest_fsmredir.model.sections import checks_of

PACKAGE = "pytest_fsmredir_conformance"
"""Import name of the folder of checks, the same for a checkout, a wheel and an editable install."""


@cache
def load() -> Catalogue:
    """Import all files of checks and return the catalogue.

    Raises:
        CatalogueError: Two checks have the same id, or one is malformed.
    """
    return Catalogue(each for file in files() for each in checks_in(file))


def files() -> list[Path]:
    """Return the files of checks: one for each section of SPEC.md, or a folder of them."""
    folder = layout.conformance()
    return sorted([*folder.glob("s[0-9][0-9]_*.py"), *folder.glob("s[0-9][0-9]_*/*.py")])


@cache
def document() -> dict[str, Sentence]:
    """Return the sentences of SPEC.md by id."""
    return sentences((layout.conformance() / "SPEC.md").read_text(encoding="utf-8"))


@cache
def checks_in(file: Path) -> tuple[Check, ...]:
    """Import one file and return its checks, in the order of their definition."""
    name = ".".join(file.relative_to(layout.conformance()).with_suffix("").parts)
    return tuple(checks_of(load_module(name), document()))


def file_of(check: Check) -> Path:
    """Return the file that defines a check, relative to the folder of checks."""
    return Path(check.function.__code__.co_filename).relative_to(layout.conformance())


@cache
def load_module(name: str) -> ModuleType:
    """Import one file of checks by its path below the folder, such as ``s20_kubernetes.probes``.

    The folder becomes a package with a unique name, so that neither the host project's import mode
    nor a folder of the same name on its import path interferes.
    """
    module_name = f"{PACKAGE}.{name}"
    for parent in (PACKAGE, module_name.rpartition(".")[0]):
        package = sys.modules.setdefault(parent, ModuleType(parent))
        package.__path__ = []  # only this function may import from it
    path = layout.conformance().joinpath(*name.split(".")).with_suffix(".py")
    loader = _CheckLoader(module_name, str(path))
    spec = spec_from_loader(module_name, loader)
    if spec is None:
        raise ImportError(f"{module_name} has no module spec")
    module = sys.modules[module_name] = module_from_spec(spec)
    loader.exec_module(module)
    return module


class _CheckLoader(layout.CompiledLoader):
    """Compiles a file of checks with its assertions.

    ``python -O`` and pytest's ``--assert`` do not change them: a compiled file without assertions
    has another name (PEP 488), and that of this file is only used without ``-O``.
    """

    def get_code(self, fullname: str) -> CodeType | None:
        if not sys.flags.optimize:
            return super().get_code(fullname)
        path = self.get_filename(fullname)
        code: CodeType = compile(self.get_data(path), path, "exec", dont_inherit=True, optimize=0)
        return code
