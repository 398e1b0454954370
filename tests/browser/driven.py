"""Drive a headless Chromium with Selenium."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HEIGHT = 900
_DEADLINE = 300  # seconds; a script takes a few of them on a machine that has nothing else to do
DRIVER = "chromedriver"
_BROWSERS = ("chromium", "google-chrome")
_ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",  # CI runs as root, and the page is ours
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--force-prefers-reduced-motion",
)


def found() -> str:
    """Return the path of a browser on this machine; empty if there is none."""
    return next((path for name in _BROWSERS if (path := shutil.which(name))), "")


@dataclass(frozen=True)
class Browser:
    """A browser with one page.

    Attributes:
        driver: The driver of Selenium.
        page: The file of the page.
    """

    driver: Any
    page: Path

    @classmethod
    @contextmanager
    def opened(cls, page: Path) -> Iterator[Browser]:
        """Start a browser, and end it after the block."""
        from selenium.webdriver import Chrome, ChromeOptions
        from selenium.webdriver.chrome.service import Service

        options = ChromeOptions()
        options.binary_location = found()
        for argument in _ARGUMENTS:
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        driver = Chrome(options=options, service=Service(shutil.which(DRIVER)))
        driver.set_script_timeout(_DEADLINE)
        driver.set_page_load_timeout(_DEADLINE)
        try:
            yield cls(driver, page)
        finally:
            driver.quit()

    def load(self, fragment: str = "", *, width: int = 1280, theme: str = "light") -> None:
        """Load the page afresh.

        Args:
            fragment: The part after the number sign.
            width: Width of the window in pixels.
            theme: The theme that the system prefers.
        """
        self.driver.get("about:blank")
        self.messages()  # forget those of the page before
        self.requests()
        self._ask(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=HEIGHT, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        self.media("screen", theme)
        self.driver.get(f"{self.page.as_uri()}{fragment and f'#{fragment}'}")

    def media(self, kind: str, theme: str = "light") -> None:
        """Show the page on another medium."""
        features = [{"name": "prefers-color-scheme", "value": theme}]
        self._ask("Emulation.setEmulatedMedia", media=kind, features=features)

    def run(self, script: str, *arguments: object) -> Any:  # noqa: ANN401 - any JSON value
        """Run a script in the page and return its result."""
        return self.driver.execute_script(script, *arguments)

    def press(self, *keys: str) -> None:
        """Press keys on the element that has the focus."""
        from selenium.webdriver import ActionChains

        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    @property
    def focused(self) -> str:
        """The element that has the focus: its name and its text or label."""
        return str(
            self.run(
                "const e = document.activeElement;"
                "return `${e.localName} ${e.ariaLabel || e.id || e.textContent.trim()}`"
            )
        )

    def shoot(self, file: Path, height: int = HEIGHT, top: int = 0) -> None:
        """Write a screenshot of the page from a height on."""
        width = self.run("return innerWidth")
        clip = {"x": 0, "y": top, "width": width, "height": height, "scale": 1}
        shot = self._ask("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        file.write_bytes(base64.b64decode(shot["data"]))

    def messages(self) -> list[str]:
        """Return the messages on the console since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Return the addresses that the browser asked for since the last call."""
        entries = self.driver.get_log("performance")
        logged = [json.loads(entry["message"])["message"] for entry in entries]
        sent = [each for each in logged if each["method"] == "Network.requestWillBeSent"]
        return [each["params"]["request"]["url"] for each in sent]

    def scripts(self, *, run: bool) -> None:
        """Allow or forbid the scripts of pages."""
        self._ask("Emulation.setScriptExecutionDisabled", value=not run)

    def _ask(self, command: str, **arguments: object) -> Any:  # noqa: ANN401 - any JSON value
        return self.driver.execute_cdp_cmd(command, arguments)
