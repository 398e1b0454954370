"""The page of a report in a real browser: legible, quiet, by keyboard, on paper, for everybody."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from tests.browser.driven import Browser

THEMES = ("light", "dark")
WIDTHS = (320, 768, 1280)
FAILED = "OPX-002"
VISIBLE = "return document.querySelectorAll('.check:not([hidden])').length"
PRESSED = "return document.querySelectorAll('[aria-pressed=true]').length"
TAB, ENTER, ESCAPE, SPACE = "\ue004", "\ue007", "\ue00c", " "


@pytest.fixture(autouse=True)
def _same_start(browser: Browser) -> Iterator[None]:
    yield
    browser.run("localStorage.clear()")


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_page_is_clean(browser: Browser, screenshots: Path, width: int, theme: str) -> None:
    """Catches: a page that is wider than its window, complains, loads, or that axe rejects."""
    browser.load(FAILED, width=width, theme=theme)
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert wider_than(browser, width) == []
    assert browser.messages() == []
    assert {url for url in browser.requests() if not url.startswith("about:")} == {
        browser.page.as_uri()
    }
    browser.shoot(screenshots / f"top-{width}-{theme}.png", 1400)
    place = "return Math.floor(document.getElementById(arguments[0]).parentElement.offsetTop)"
    top = browser.run(place, FAILED)
    browser.shoot(screenshots / f"failure-{width}-{theme}.png", 1600, top)
    assert violations(browser) == []


def wider_than(browser: Browser, width: int) -> list[str]:
    """Return the visible elements that leave the window and cannot be scrolled to."""
    found: list[str] = browser.run(
        "const hidden = '.wide *, .sr, .skip, symbol *';"
        "return [...document.querySelectorAll('body *')].filter(e => !e.matches(hidden)"
        " && e.getClientRects().length && e.getBoundingClientRect().right > arguments[0] + 1)"
        ".map(e => e.outerHTML.slice(0, 120))",
        width,
    )
    return found


def violations(browser: Browser) -> list[str]:
    """Return what axe-core finds wrong with the page, without most of the passing checks."""
    browser.run(
        "for (const check of document.querySelectorAll('.check:not(:first-of-type)'))"
        " if (check.dataset.outcomes === 'pass') check.remove()"
    )
    browser.run((files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8"))
    found: list[str] = browser.driver.execute_async_script(
        "const done = arguments[0];"
        "axe.run(document, {resultTypes: ['violations']}).then(found => done(found.violations.map("
        "each => `${each.id}: ${each.help}: ${each.nodes[0].html.slice(0, 200)}`)),"
        " error => done([String(error)]))"
    )
    return found


def test_foreign_texts_do_nothing(browser: Browser) -> None:
    """Catches: a script in the text of a rule that runs in the browser of a reviewer."""
    browser.load()
    assert browser.run("return window.hacked === undefined")
    assert browser.run("return document.querySelectorAll('img, script').length") == 1


def test_policy_stops_a_script_that_escaping_missed(browser: Browser) -> None:
    """Catches: a policy that allows scripts of others."""
    browser.load()
    browser.run(
        "const script = document.createElement('script');"
        "script.textContent = 'window.hacked = 1'; document.body.append(script)"
    )
    assert browser.run("return window.hacked === undefined")
    assert "Content Security Policy" in browser.messages()[0]


def test_link_to_a_check_opens_it(browser: Browser) -> None:
    """Catches: a link that leads to a closed, a hidden or a covered line."""
    browser.load(FAILED)
    opened = "return document.getElementById(arguments[0]).closest('.check').open"
    assert browser.run(opened, FAILED)
    assert browser.run(
        "const line = document.getElementById(arguments[0]).previousElementSibling;"
        "const { left, top, height } = line.getBoundingClientRect();"
        "return line.contains(document.elementFromPoint(left + 9, top + height / 2))",
        FAILED,
    )
    browser.run("document.querySelector('.chips button[value=pass]').click()")
    browser.run("location.hash = 'IPX-001'")
    browser.run("return new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
    assert browser.run(opened, "IPX-001")
    assert browser.run(PRESSED) == 0


def test_search_and_filters_find_checks(browser: Browser) -> None:
    """Catches: a search that misses words of a failure, or filters that exclude each other."""
    browser.load()
    every = browser.run(VISIBLE)
    browser.press("/", *"nearest rule")
    assert browser.run(VISIBLE) == 4
    assert browser.run("return document.querySelector('#shown').textContent") == (
        f"4 of {every} checks shown"
    )
    browser.press(ESCAPE)
    assert browser.run(VISIBLE) == every
    for outcome, shown in (("error", 1), ("warn", 2)):
        browser.run(f"document.querySelector('.chips button[value={outcome}]').click()")
        assert browser.run(VISIBLE) == shown
    browser.run(
        "const select = document.querySelector('#profile'); select.value = 'core';"
        "select.dispatchEvent(new Event('change'))"
    )
    assert browser.run(VISIBLE) == 1


def test_keyboard_is_enough(browser: Browser) -> None:
    """Catches: a control that only a mouse reaches, or a focus that nobody sees."""
    browser.load()
    browser.press(TAB)
    assert browser.focused == "a Skip to the checks"
    browser.press(TAB)
    assert browser.focused == "button Theme: auto"
    browser.press(ENTER, ENTER)
    assert browser.run("return document.documentElement.dataset.theme") == "dark"
    browser.press("/", TAB, TAB, SPACE)
    assert browser.run(PRESSED) == 1
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    assert browser.run(outline) == "solid"
    browser.press(SPACE)
    browser.run("document.querySelector('.check:not([open]) summary').focus()")
    browser.press(ENTER)
    assert browser.run("return document.activeElement.parentElement.open")


def test_theme_is_remembered(browser: Browser) -> None:
    """Catches: a choice that is lost with the next report."""
    browser.load()
    browser.run("document.querySelector('.theme').click()")
    browser.load(theme="dark")
    assert browser.run("return getComputedStyle(document.documentElement).colorScheme") == "light"


def test_command_can_be_copied(browser: Browser) -> None:
    """Catches: a button that does nothing in a page from a file."""
    browser.load(FAILED)
    browser.run("document.querySelector(`#${arguments[0]} .copy`).focus()", FAILED)
    browser.press(ENTER)
    said = browser.driver.execute_async_script(
        "const told = document.querySelector('#told'), done = arguments[0];"
        "const look = () => told.textContent ? done(told.textContent) : setTimeout(look); look()"
    )
    assert said in ("Copied the line", "Selected the line: copy it with the keyboard")


def test_paper_has_the_failures(browser: Browser, screenshots: Path) -> None:
    """Catches: a printed report without the failures, or with buttons."""
    browser.load(theme="dark")
    browser.media("print", "dark")
    browser.run("dispatchEvent(new Event('beforeprint'))")
    shown = "return document.getElementById(arguments[0]).checkVisibility()"
    assert browser.run(shown, FAILED)
    assert not browser.run("return document.querySelector('.tools').checkVisibility()")
    assert browser.run("return getComputedStyle(document.documentElement).colorScheme") == "light"
    browser.shoot(screenshots / "paper.png", 1400)
    browser.run("dispatchEvent(new Event('afterprint'))")


def test_page_can_be_read_without_scripts(browser: Browser) -> None:
    """Catches: contents that only a script shows, or buttons that do nothing without it."""
    browser.scripts(run=False)
    try:
        browser.load(FAILED)
    finally:
        browser.scripts(run=True)
    assert browser.run("return document.getElementById(arguments[0]).checkVisibility()", FAILED)
    assert not browser.run("return document.querySelector('.tools').checkVisibility()")
    assert not browser.run("return document.querySelector('.copy').checkVisibility()")
