"""Load the packaged checks."""

from __future__ import annotations

import sys
from functools import cache
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from types import CodeType, ModuleType

from pytest_fsmredir import layout
from pytest_fsmredir.model.checks import Catalogue, checks_of

PACKAGE = "pytest_fsmredir_conformance"
"""Import name of the folder of checks, the same for a checkout, a wheel and an editable install."""


@cache
def load() -> Catalogue:
    """Import all files of checks and return the catalogue.

    Raises:
        CatalogueError: Two checks have the same id, or one is malformed.
    """
    files = sorted(layout.conformance().glob("test_*.py"))
    return Catalogue(each for file in files for each in checks_of(load_module(file.stem)))


@cache
def load_module(name: str) -> ModuleType:
    """Import one file of checks.

    The folder becomes a package with a unique name, so that neither the host project's import mode
    nor a folder of the same name on its import path interferes.
    """
    if PACKAGE not in sys.modules:
        package = ModuleType(PACKAGE)
        package.__path__ = []  # only this function may import from it
        sys.modules[PACKAGE] = package
    module_name = f"{PACKAGE}.{name}"
    loader = _CheckLoader(module_name, str(layout.conformance() / f"{name}.py"))
    spec = spec_from_loader(module_name, loader)
    if spec is None:
        raise ImportError(f"{module_name} has no module spec")
    module = sys.modules[module_name] = module_from_spec(spec)
    loader.exec_module(module)
    return module


class _CheckLoader(SourceFileLoader):
    """Compiles a file of checks with its assertions.

    ``python -O`` and pytest's ``--assert`` do not change them. It reads no compiled file, because
    that file might have been compiled without assertions.
    """

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        code: CodeType = compile(self.get_data(path), path, "exec", dont_inherit=True, optimize=0)
        return code
