"""Write the page that compares implementations: ``python -m docs.comparison``."""

from __future__ import annotations

import sys

from docs.generate import FOLDER, PAGES
from pytest_fsmredir.errors import ReportError

PAGE = "comparison.md"

if __name__ == "__main__":
    try:
        (FOLDER / PAGE).write_text(PAGES[PAGE](), encoding="utf-8")
    except ReportError as error:
        sys.exit(str(error))
