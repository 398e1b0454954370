"""Commands beside pytest: ``python -m pytest_fsmredir doctor|reference|mesh|pod|rules``."""

from __future__ import annotations

import sys
from importlib import import_module

from pytest_fsmredir.cli import doctor
from pytest_fsmredir.errors import PreflightError
from pytest_fsmredir.implementations.reference import command as reference

_USAGE = """\
usage: python -m pytest_fsmredir COMMAND [ARGUMENT ...]

  doctor                        say what the netns backend needs and whether it is there
  reference apply|remove|print  program this network namespace with the reference implementation,
                                by the contract's environment variables
  mesh install|remove|image     the reference mesh: a webhook in FSM's shape, to try
                                --fsm-inject=webhook on; --help says more
  pod NAMESPACE/NAME            judge a pod that runs already, with an agent in an ephemeral
                                container; --help says more
  rules show|path|check|diff    ask what saved rules do with packets; --help says more
"""


def main(argv: list[str] | None = None) -> int:
    """Run a command and return its exit status; 2 for one that does not exist."""
    arguments = sys.argv[1:] if argv is None else argv
    match arguments:
        case ["doctor"]:
            return doctor.main()
        case ["reference", *rest]:
            return reference.main(rest)
        case ["mesh", *rest]:
            return _with_client("pytest_fsmredir.reference_mesh.command", rest)
        case ["pod", *rest]:
            return _with_client("pytest_fsmredir.cli.pod.command", rest, lacking=2)
        case ["rules", *rest]:
            return int(import_module("pytest_fsmredir.rules.command").main(rest))
        case ["-h" | "--help"]:
            print(_USAGE, end="")
            return 0
        case _:
            print(_USAGE, end="", file=sys.stderr)
            return 2


def _with_client(module: str, arguments: list[str], lacking: int = 1) -> int:
    """Run a command that needs the extra ``kind``; return ``lacking`` where that is not here."""
    try:
        command = import_module(module)
    except (ImportError, PreflightError) as error:
        missing = getattr(error, "name", None)
        told = f"{missing} is missing; install it: pip install 'pytest-fsmredir[kind]'"
        print(f"not done: {told if missing else error}", file=sys.stderr)
        return lacking
    status: int = command.main(arguments)
    return status


if __name__ == "__main__":
    sys.exit(main())
