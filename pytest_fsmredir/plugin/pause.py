"""``--fsm-pause-on-fail``: a shell in the pod of a failed check, before the run goes on."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pytest_fsmredir.backends.protocols import JudgedMesh, Suspect
from pytest_fsmredir.errors import BackendError, SettingsError
from pytest_fsmredir.model.outcomes import Row
from pytest_fsmredir.text import printable

_SHEET = """
paused at {check}[{variant}], as root in the pod {address}; "exit" goes on
  flow      {flow}
  expected  {expected}
  seen      {seen}
  why       {why}
try
  iptables-save -c; ip6tables-save -c      the rules, with counters
  cat /proc/net/nf_conntrack               tracked connections
  setpriv --reuid=1000 --clear-groups sh   the application's user; 1500 is the sidecar
  python3 -c 'import socket; print(socket.create_connection(("HOST", PORT)).recv(99))'
"""


class Pause:
    """Pauses the run at each failure.

    Args:
        config: The configuration of pytest, whose capture of the terminal is suspended.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def __call__(self, row: Row, mesh: JudgedMesh, pod: Suspect) -> None:
        """Open a shell in a pod, and return when it ends."""
        with terminal(self._config):
            sheet = _SHEET.format(
                check=row.check, variant=row.variant, address=pod.address, flow=row.flow,
                expected=row.expected, seen=row.seen or row.reason, why=row.why,
            )  # fmt: skip
            sys.stdout.write(sheet)
            sys.stdout.flush()
            try:
                mesh.enter(pod)
            except BackendError as error:  # such as a cluster that admits no container; go on
                sys.stdout.write(f"no shell: {printable(str(error))}\n")


@contextmanager
def terminal(config: pytest.Config) -> Iterator[None]:
    """Give the terminal back for the block: pytest captures standard input and output."""
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is None:
        yield
        return
    capture.suspend(in_=True)
    try:
        yield
    finally:
        capture.resume()


def require_terminal(config: pytest.Config) -> None:
    """Require what a pause needs.

    Raises:
        SettingsError: The run is distributed, or has no terminal.
    """
    if config.getoption("dist", "no") != "no" or hasattr(config, "workerinput"):
        raise SettingsError(
            "--fsm-pause-on-fail: workers of pytest-xdist have no terminal: leave out -n"
        )
    with terminal(config):
        if not (os.isatty(0) and os.isatty(1)):
            raise SettingsError("--fsm-pause-on-fail: standard input or output is not a terminal")
