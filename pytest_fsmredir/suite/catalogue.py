"""Loading the shipped checks."""

from __future__ import annotations

import importlib
import sys
from functools import cache
from types import ModuleType

from pytest_fsmredir import layout
from pytest_fsmredir.model.checks import Catalogue, checks_of

PACKAGE = "pytest_fsmredir_conformance"
"""Import name of the folder of checks, the same for a checkout, a wheel and an editable install."""


@cache
def load() -> Catalogue:
    """Import every file of checks and return the catalogue.

    Raises:
        CatalogueError: Two checks have the same id, or one is malformed.
    """
    files = sorted(layout.conformance().glob("test_*.py"))
    return Catalogue(each for file in files for each in checks_of(load_module(file.stem)))


def load_module(name: str) -> ModuleType:
    """Import one file of checks.

    The folder becomes a package under a name of our own, so that neither the host project's import
    mode nor a folder of the same name on its path can get in the way.
    """
    if PACKAGE not in sys.modules:
        package = ModuleType(PACKAGE)
        package.__path__ = [str(layout.conformance())]
        sys.modules[PACKAGE] = package
    return importlib.import_module(f"{PACKAGE}.{name}")
