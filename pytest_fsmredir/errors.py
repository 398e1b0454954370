"""The one tree of errors.

An error here means that the harness, the machine or the user's input is at fault. A fault of the
implementation under test is never an exception of this tree: it is a claim of a check that is
false.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence


class FsmRedirError(Exception):
    """Base of everything this package raises on purpose."""


class PreflightError(FsmRedirError):
    """The machine lacks something; the message names it and the command that installs it."""


class ConfigurationError(FsmRedirError):
    """A pod's or the mesh's redirection settings are malformed; the message names the value."""


class AnnotationError(ConfigurationError):
    """A pod annotation is malformed."""


class MeshConfigError(ConfigurationError):
    """A MeshConfig field is malformed."""


class CatalogueError(FsmRedirError):
    """The set of checks is inconsistent: a duplicate id, an unknown sentence, a wrong level."""


class SettingsError(FsmRedirError):
    """An option, environment variable or file holds an invalid value."""


class CaptureError(FsmRedirError):
    """The file of a captured pod is malformed; the message names the line and the key."""


class ReportError(FsmRedirError):
    """A report cannot be read; the message names the file."""


class BackendError(FsmRedirError):
    """The harness could not make or use a pod. This is never the implementation's fault."""


class CommandError(BackendError):
    """A command of the harness exited non-zero or overran its deadline."""

    def __init__(self, argv: Sequence[str], status: int | None, stderr: str) -> None:
        how = "overran its deadline" if status is None else f"exited {status}"
        super().__init__(f"{shlex.join(argv)} {how}: {tail(stderr)}")
        self.argv, self.status, self.stderr = tuple(argv), status, stderr


class DeadlineError(BackendError):
    """A named condition did not come true in time."""


def tail(text: str, lines: int = 5) -> str:
    """Return the last non-empty lines of a program's output, joined for one-line messages."""
    kept = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(kept[-lines:]) or "(no output)"


class NodeLostError(BackendError):
    """A node of a cluster runs no pods any more, so it cannot be judged."""


class PodStoppedError(FsmRedirError):
    """A check wants a pod that the run does not make again, for a reason already reported."""


class NotApplicableError(FsmRedirError):
    """A check needs another pod than the one that is replayed; the message says which."""
