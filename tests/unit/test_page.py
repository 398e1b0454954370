"""The page of a report: what it holds, and that foreign texts stay text."""

from __future__ import annotations

import json
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pytest_fsmredir.cli import summary
from pytest_fsmredir.report.page.lines import columns, wrapped
from pytest_fsmredir.report.page.packet_picture import packet_picture
from pytest_fsmredir.report.page.page import PAGE, page
from pytest_fsmredir.report.page.walk_picture import walk_picture
from pytest_fsmredir.report.read import read_report
from pytest_fsmredir.report.verify import files
from pytest_fsmredir.report.verify.consistency import check_schema
from tests.unit.conftest import Project
from tests.unit.pages import FAILED, HOSTILE, hostile_report
from tests.unit.reports import FACTS, row_of, write

_VOID = {"meta", "input", "br", "img", "link", "hr"}


class _Reader(HTMLParser):
    """Collects what a page is made of, and that each element ends."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the element."""
        known = dict(attrs)
        self.tags.append(tag)
        self.attributes |= known.keys()
        self.ids += [known["id"] or ""] if "id" in known else []
        self.links += [known["href"] or ""] if tag == "a" else []
        self.open += [] if tag in _VOID else [tag]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element of SVG without contents."""
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        """Require that the innermost element ends."""
        assert self.open.pop() == tag


def read(text: str) -> _Reader:
    reader = _Reader()
    reader.feed(text)
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with failures and hostile texts."""
    return hostile_report(Project(tmp_path_factory.mktemp("page")))


def text_of(directory: Path) -> str:
    return (directory / PAGE).read_text(encoding="utf-8")


def test_page_is_well_formed_and_its_links_lead_somewhere(directory: Path) -> None:
    """Catches: an element that does not end, an id twice, or a link to a check without a row."""
    reader = read(text_of(directory))
    assert len(reader.ids) == len(set(reader.ids))
    inner = {link.removeprefix("#") for link in reader.links if link.startswith("#")}
    assert inner <= set(reader.ids)
    assert set(FAILED) <= inner


def test_foreign_texts_stay_text(directory: Path) -> None:
    """Catches: a script, an image or an invisible character from a rule in a reviewer's browser."""
    text = text_of(directory)
    reader = read(text)
    assert reader.tags.count("script") == 1
    assert "img" not in reader.tags
    assert not [name for name in reader.attributes if name.startswith("on") or name == "style"]
    assert "&lt;script&gt;window.hacked=1&lt;/script&gt; ]]&gt; \\u202e\\x00\\x1b[2J" in text
    assert not re.search("[\x00-\x08\u202a-\u202e\u2066-\u2069]", text)


def test_report_with_pictures_follows_its_schema(directory: Path) -> None:
    """Catches: a walk or a delivery that a reviewer rejects."""
    assert list(check_schema(read_report(directory))) == []


def test_client_port_is_masked(directory: Path) -> None:
    """Catches: pictures of equal runs that differ in the port that the kernel chose."""
    row = row_of(json.loads((directory / "report.json").read_text()), "OPX-002")
    assert row["delivery"]["client"] == "10.77.0.7:*"
    assert "10.77.0.7:40123" not in text_of(directory)


def test_page_needs_no_network(directory: Path) -> None:
    """Catches: a font, a style or a script that is loaded, or a policy that allows one."""
    text = text_of(directory)
    assert "default-src &#39;none&#39;" in text
    assert not re.findall(r"(?:src|@import|url\()\s*=?\s*[\"']?https?:", text)
    assert "link" not in read(text).tags


def test_page_says_what_failed_and_how_to_try_it(directory: Path) -> None:
    """Catches: a failure without its requirement, its pictures or the command to re-run it."""
    text = text_of(directory)
    start = text.index('id="OPX-002"')
    part = text[start : text.index("</details>\n<details", start)]
    assert "Each comma-separated item of an annotation MUST count." in part
    assert "captured outbound" in part
    assert part.count('<svg class="picture"') == 4  # the rules and the packets of two families
    assert "pytest --fsm-conformance --fsm-ip 6 --fsm-check OPX-002" in part
    assert "a rule that FSMREDIR_OUT lacks" in part


def test_page_shows_the_use_of_the_rules(directory: Path) -> None:
    """Catches: a report that hides rules which never act."""
    text = text_of(directory)
    assert "2 of 4 rules hit, 1 never hit, 1 unreachable, 1 redundant" in text
    assert "rule #3 takes every packet" in text
    assert "FSMREDIR_OUT #7: no packet reaches it" in text
    assert "7.50" in text  # the slowest check


def test_page_says_why_a_profile_is_not_proved(project: Project) -> None:
    """Catches: a card that only lacks the word."""
    directory = write(project)
    text = text_of(directory)
    assert "Proved for every address, port and user." not in text
    assert "Not proved for every flow: " in text


def test_page_of_a_report_of_another_version_has_its_rows(project: Project) -> None:
    """Catches: a crash at a report whose catalogue is not known, or that has no pictures."""
    directory = write(project)
    document = json.loads((directory / "report.json").read_text())
    document["suite"]["catalogue"] = "sha256:" + 64 * "0"
    row_of(document, "OUT-001").update(id="OLD-001", spec="SPEC-99.1")
    (directory / "report.json").write_text(json.dumps(document))
    text = page(read_report(directory))
    assert "Checks of another version" in text
    assert 'id="OLD-001"' in text


def test_page_is_small(directory: Path) -> None:
    """Catches: a page that a mail server refuses."""
    assert len(text_of(directory).encode()) < 1_500_000


def test_page_is_made_of_an_existing_report(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches: a vendor who has to repeat a run to get the page."""
    assert summary.main([str(directory), "--html", str(tmp_path / "x.html")]) == 0
    assert (tmp_path / "x.html").read_text() == text_of(directory)
    assert capsys.readouterr().out == ""


def test_reviewer_learns_that_the_page_says_something_else(directory: Path) -> None:
    """Catches: a page that says conformant next to a report that does not."""
    report = read_report(directory)
    assert list(files.check_page(report)) == []
    text = text_of(directory)
    (directory / PAGE).write_text(text.replace("nonconformant", "conformant"))
    (finding,) = files.check_page(report)
    (directory / PAGE).write_text(text)
    assert finding.text.startswith("report.html is not what this version makes of report.json")


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a b", ["a b"]),
        ("abcdef", ["abcd", "ef"]),
        ("", [""]),
        ("漢字漢字", ["漢字", "漢字"]),
        ("aa bb cc dd ee ff gg", ["aa", "bb …"]),
    ],
)
def test_lines_fit(text: str, lines: list[str]) -> None:
    """Catches: text that leaves its box, also a word without a space or with wide characters."""
    assert wrapped(text, 4, 2) == lines
    assert all(columns(line) <= 4 for line in lines)


def test_pictures_hold_their_texts(directory: Path) -> None:
    """Catches: a rule or an address that is cut by the edge of a picture."""
    row = row_of(json.loads((directory / "report.json").read_text()), "OPX-002")
    walk, packets = walk_picture(row["walk"]), packet_picture(row["delivery"], row["expected"])
    texts = re.findall(r">([^<]+)</text>", walk)
    assert max(columns(unescape(text)) for text in texts) <= 46
    for x, text in re.findall(r'x="([\d.]+)" y="\d+">([^<]+)</text>', packets):
        assert 3.3 * columns(text) <= float(x) <= 360 - 3.3 * columns(text)
    assert HOSTILE not in walk


def test_page_shows_plots_and_figures_of_a_benchmark(tmp_path: Path) -> None:
    """Catches: figures that are missing on the page, or a style that the page forbids."""
    written = write(Project(tmp_path), facts={**FACTS, "benchmark": FIGURES})
    text = text_of(written)
    reader = read(text)
    assert "#benchmark" in reader.links
    assert len(reader.ids) == len(set(reader.ids))
    assert text.count('<svg class="plot"') == 1
    assert "captured, 15 entries: 1.4 (1.3 to 1.5)" in text
    assert unescape(text).count("1.40 ±0.10") == 1
    assert reader.tags.count("style") == 1
    report = read_report(written)
    assert [*check_schema(report), *files.check_page(report)] == []


def _figures(entries: int) -> dict[str, Any]:
    ratio = {"value": 1.4, "low": 1.3, "high": 1.5}
    figure = {"metric": "connect p50", "unit": "s", "case": "captured", "value": 2.0}
    figure |= {"plain": 1.0, "ratio": ratio if entries else {"value": 1.0}}
    difference = "seen" if entries else "too few rounds"
    return {"entries": entries, "rounds": 8, "figures": [figure | {"difference": difference}]}


FIGURES = {
    "list": "outboundIPRangeExclusionList", "rounds": 8, "seconds": 10.0, "seed": 1,
    "sources": {}, "notMeasured": {},
    "points": [{"variant": "nft/v4", "complete": True, "lists": [_figures(0), _figures(15)]}],
}  # fmt: skip
