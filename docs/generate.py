"""Write the generated pages: ``python -m docs.generate``."""

from __future__ import annotations

from pathlib import Path

from docs._pages import api, checks, comparison, fixtures, options, schema, selfcheck

FOLDER = Path(__file__).parent

PAGES = {
    "comparison.md": comparison.page,
    "reference/api.md": api.page,
    "reference/checks.md": checks.page,
    "reference/fixtures.md": fixtures.page,
    "reference/options.md": options.page,
    "reference/schema.md": schema.page,
    "reference/selfcheck.md": selfcheck.page,
}
"""The text of each generated page, by its file."""


if __name__ == "__main__":
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")
