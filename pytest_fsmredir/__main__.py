"""Commands beside pytest: ``python -m pytest_fsmredir doctor|reference``."""

from __future__ import annotations

import sys

from pytest_fsmredir import doctor
from pytest_fsmredir.implementations.reference import command as reference

_USAGE = """\
usage: python -m pytest_fsmredir COMMAND [ARGUMENT ...]

  doctor                        say what the netns backend needs and whether it is there
  reference apply|remove|print  program this network namespace with the reference implementation,
                                by the contract's environment variables
"""


def main(argv: list[str] | None = None) -> int:
    """Run a command and return its exit status; 2 for one that does not exist."""
    arguments = sys.argv[1:] if argv is None else argv
    match arguments:
        case ["doctor"]:
            return doctor.main()
        case ["reference", *rest]:
            return reference.main(rest)
        case ["-h" | "--help"]:
            print(_USAGE, end="")
            return 0
        case _:
            print(_USAGE, end="", file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main())
