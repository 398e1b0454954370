"""Show the progress of long sweeps, although pytest captures all other output."""

from __future__ import annotations

from time import monotonic

import pytest

_LONG = 5000  # flows; shorter sweeps take less than a second
_REFRESH_S = 0.1
_QUARTERS = 4


class SweepProgress:
    """Shows the progress of a sweep: a live count on a terminal, else a line for every quarter.

    The call happens for every flow, so most calls must be cheap.
    """

    def __init__(self, config: pytest.Config, reporter: pytest.TerminalReporter) -> None:
        self._capture = config.pluginmanager.getplugin("capturemanager")
        self._reporter = reporter
        self._next_s = 0.0
        self._quarter = 0

    def __call__(self, name: str, done: int, total: int | None) -> None:
        """Count one more flow of a check."""
        if total is None or total < _LONG:
            return
        if self._reporter.isatty:
            self._live(name, done, total)
        else:
            self._plain(name, done, total)

    def _live(self, name: str, done: int, total: int) -> None:
        now = monotonic()
        if done == total:
            self._show("", live=True)
            self._next_s = 0.0
        elif now >= self._next_s:
            self._next_s = now + _REFRESH_S
            self._show(f"{name}: {done:,} of {total:,} flows", live=True)

    def _plain(self, name: str, done: int, total: int) -> None:
        quarter = done * _QUARTERS // total
        if quarter != self._quarter and quarter > 0:
            percent = 100 * quarter // _QUARTERS
            self._show(f"{name}: {percent}% of {total:,} flows", live=False)
        self._quarter = quarter

    def _show(self, text: str, *, live: bool) -> None:
        if self._capture is None:
            self._write(text, live)
            return
        with self._capture.global_and_fixture_disabled():
            self._write(text, live)

    def _write(self, text: str, live: bool) -> None:
        self._reporter.ensure_newline()
        if not live:
            self._reporter.write_line(text)
        elif text:
            self._reporter.rewrite(text, erase=True)
        else:
            self._reporter.rewrite("", erase=True)
            self._reporter.rewrite("")
