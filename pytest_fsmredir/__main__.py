"""Commands beside pytest: ``python -m pytest_fsmredir doctor|reference|mesh``."""

from __future__ import annotations

import sys

from pytest_fsmredir import doctor
from pytest_fsmredir.implementations.reference import command as reference

_USAGE = """\
usage: python -m pytest_fsmredir COMMAND [ARGUMENT ...]

  doctor                        say what the netns backend needs and whether it is there
  reference apply|remove|print  program this network namespace with the reference implementation,
                                by the contract's environment variables
  mesh install|remove|image     the reference mesh: a webhook in FSM's shape, to try
                                --fsm-inject=webhook on; --help says more
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
            return _mesh(rest)
        case ["-h" | "--help"]:
            print(_USAGE, end="")
            return 0
        case _:
            print(_USAGE, end="", file=sys.stderr)
            return 2


def _mesh(arguments: list[str]) -> int:
    try:
        from pytest_fsmredir.reference_mesh import command as mesh
    except ImportError as error:
        told = f"{error.name} is missing; install it: pip install 'pytest-fsmredir[kind]'"
        print(f"not done: {told}", file=sys.stderr)
        return 1
    return mesh.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
