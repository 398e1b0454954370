"""The commands of ``python -m pytest_fsmredir``; each imports what it needs alone."""

from __future__ import annotations

import os
import sys
from importlib import import_module

from pytest_fsmredir.errors import PreflightError

_USAGE = """\
usage: python -m pytest_fsmredir COMMAND [ARGUMENT ...]

  doctor                        list what a run needs on this machine and what is missing
  reference apply|remove|print  run the reference implementation in this network namespace, with
                                the environment variables of the contract
  mesh install|remove|image     manage the reference mesh: a webhook like FSM's, to try
                                --fsm-inject=webhook; see --help
  pod NAMESPACE/NAME            judge a running pod, with an agent in an ephemeral container;
                                see --help
  verify DIR                    check a report that --fsm-report wrote; see --help
  compare DIR DIR ...           compare reports of versions or implementations; see --help
  summary DIR                   show a report: annotations, Markdown, a badge, HTML; see --help
  capture NAMESPACE/POD         write what decides where a pod's traffic goes into a file; see
                                --help
  flow FILE|NAMESPACE/POD       send one flow: in a captured pod that is rebuilt, or from a running
                                pod; see --help
  clean                         remove what killed runs left in a cluster; see --help
  selfcheck print               print a check that pods run in themselves; see --help
  rules show|path|check|diff    ask what the rules in a file or a pod do with packets; see --help
"""


_READER_GONE = 141
"""The exit status that shells give a program whose reader ended first (128 + SIGPIPE)."""

_MODULES = {
    "capture": "cli.capture.command",
    "flow": "cli.flow",
    "compare": "cli.compare",
    "reference": "implementations.reference.command",
    "summary": "cli.summary",
    "rules": "cli.rules.command",
    "selfcheck": "cli.selfcheck.command",
    "verify": "cli.verify",
}
"""The module of each command that needs no extra; a command imports what it needs alone."""


def main(argv: list[str] | None = None) -> int:
    """Run a command and return its exit status; 2 if the command does not exist."""
    arguments = sys.argv[1:] if argv is None else argv
    match arguments:
        case ["doctor"]:
            return int(import_module("pytest_fsmredir.cli.doctor").main())
        case ["mesh", *rest]:
            return _with_client("pytest_fsmredir.reference_mesh.command", rest)
        case ["pod", *rest]:
            return _with_client("pytest_fsmredir.cli.pod.command", rest, lacking=2)
        case ["clean", *rest]:
            return _with_client("pytest_fsmredir.cli.clean", rest)
        case [name, *rest] if name in _MODULES:
            return int(import_module(f"pytest_fsmredir.{_MODULES[name]}").main(rest))
        case ["-h" | "--help"]:
            print(_USAGE, end="")
            return 0
        case _:
            print(_USAGE, end="", file=sys.stderr)
            return 2


def _with_client(module: str, arguments: list[str], lacking: int = 1) -> int:
    """Run a command that needs the extra ``kind``; return ``lacking`` if it is not installed."""
    try:
        command = import_module(module)
    except (ImportError, PreflightError) as error:
        missing = getattr(error, "name", None)
        remedy = f"{missing} is missing; install it: pip install 'pytest-fsmredir[kind]'"
        print(f"not done: {remedy if missing else error}", file=sys.stderr)
        return lacking
    status: int = command.main(arguments)
    return status


def _main_of_a_pipe() -> int:
    """Run a command; end quietly if the reader of its output ended first, such as ``head``."""
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:
        # Python writes what is left at its end, and would complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _READER_GONE
    return status


if __name__ == "__main__":
    sys.exit(_main_of_a_pipe())
