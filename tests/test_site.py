"""The documentation as a site: it builds, needs no other host, and shows all that is written."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
LOADING = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src"}
"""The attributes that make a browser load something, by element; and links of style sheets."""

_IMPORT = re.compile(r"(?:@import|url\()\s*[\"']?(?:https?:)?//")


class _Reader(HTMLParser):
    """Collects what a page loads, and paragraphs that should have been lists or tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.unformatted: list[str] = []
        self._in_paragraph = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the address of whatever the element loads."""
        values = dict(attrs)
        link = tag == "link" and values.get("rel") not in ("next", "prev", "canonical")
        name = "href" if link else LOADING.get(tag, "")
        self.loaded += [values.get(name) or ""] if name else []
        self._in_paragraph = tag == "p" or (self._in_paragraph and tag in ("a", "code", "em"))

    def handle_endtag(self, tag: str) -> None:
        """Note the end of a paragraph."""
        self._in_paragraph = self._in_paragraph and tag != "p"

    def handle_data(self, data: str) -> None:
        """Note Markdown that is still Markdown."""
        if self._in_paragraph and re.search(r"^(?:[-*] |\d\. |\| )", data, re.MULTILINE):
            self.unformatted.append(data)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. Strict: a warning, such as a broken link or anchor, is an error."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, _Reader]:
    """The pages of the site, read."""
    return {file: _Reader(file.read_text(encoding="utf-8")) for file in site.rglob("*.html")}


def test_every_page_is_in_the_site(site: Path) -> None:
    """Catches: a page of the repository that the navigation or the site leaves out."""
    written = [page.relative_to(DOCS).with_suffix("") for page in DOCS.rglob("*.md")]
    paths = [page.parent if page.name == "index" else page for page in written]
    assert [path for path in paths if not (site / path / "index.html").exists()] == []


def test_browser_asks_no_other_host(site: Path, pages: dict[Path, _Reader]) -> None:
    """Catches: a font, script or style sheet of another host, which would learn who reads."""
    loaded = {address for page in pages.values() for address in page.loaded}
    assert {address for address in loaded if re.match(r"(?:https?:)?//", address)} == set()
    styles = [file.name for file in site.rglob("*.css") if _IMPORT.search(file.read_text())]
    assert styles == []


def test_lists_and_tables_are_rendered(pages: dict[Path, _Reader]) -> None:
    """Catches: a list without a blank line before it, which the site shows as one paragraph."""
    assert {file: page.unformatted for file, page in pages.items() if page.unformatted} == {}


def test_search_finds_a_check_an_option_and_a_key(site: Path) -> None:
    """Catches: an index of the search that lacks the reference."""
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    texts = {entry["location"].partition("#")[0]: "" for entry in index["docs"]}
    for entry in index["docs"]:
        texts[entry["location"].partition("#")[0]] += entry["title"] + entry["text"]
    assert "OPX-005" in texts["reference/checks/"]
    assert "--fsm-strict" in texts["reference/options/"]
    assert "resultsDigest" in texts["reference/schema/"]
    assert not [location for location in texts if location.endswith(".py/")]
