"""``python -m tests.mutants``: judge every mutant by the suite."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from random import Random

from pytest_fsmredir.backends.netns import privileges
from pytest_fsmredir.suite import catalogue
from tests.mutants.collected import by_name, matching
from tests.mutants.every_flow import print_found
from tests.mutants.hints import remember
from tests.mutants.matrix import print_matrix
from tests.mutants.parallel import cores, spread
from tests.mutants.planted import print_planted
from tests.mutants.printing import as_document, line, summary
from tests.mutants.runner import ORIGINAL, Verdict, judge_mutant
from tests.mutants.selfcheck import print_seen


def main(argv: Sequence[str]) -> int:
    """Judge the mutants that the arguments name. Return the exit status: 0 if all went well."""
    arguments = _parser().parse_args(argv)
    names = matching(*arguments.globs)
    if not names:
        sys.stderr.write("no mutant has such a name\n")
        return 2
    if arguments.sample:
        names = _sample(names, arguments.sample, arguments.seed)
    if arguments.list:
        for name in names:
            sys.stdout.write(f"{name}: {by_name(name).what} [{by_name(name).source}]\n")
        return 0
    privileges.acquire("auto")
    if arguments.planted:
        return print_planted(arguments.planted, arguments.seed, arguments.jobs, arguments.timeout)
    if arguments.all_checks_only:
        return print_found(names, arguments.jobs, arguments.timeout, arguments.json)
    if arguments.selfcheck:
        return print_seen(names, arguments.jobs, arguments.timeout)
    if arguments.matrix:
        print_matrix(names, arguments.jobs, arguments.timeout)
        return 0
    return _judge(names, arguments)


def _sample(names: Sequence[str], size: int, seed: str) -> list[str]:
    """Draw mutants by a seed and print the seed. Keep the original for equivalent ones."""
    sys.stdout.write(f"a sample of {size} mutants, --seed {seed}\n")
    drawn = set(Random(seed).sample(sorted(names), min(size, len(names))))  # noqa: S311
    return [name for name in names if name in drawn or name == ORIGINAL]


def _judge(names: Sequence[str], arguments: argparse.Namespace) -> int:
    began = time.perf_counter()
    verdicts: list[Verdict] = []
    work = partial(
        judge_mutant, timeout_s=arguments.timeout, full=arguments.full, why=arguments.why
    )
    for verdict in spread(work, sorted(names, key=_turn), arguments.jobs):
        verdicts.append(verdict)
        if arguments.verbose or not verdict.as_expected:
            sys.stdout.write(line(verdict) + "\n")
            sys.stdout.flush()
    seconds = time.perf_counter() - began
    sys.stdout.write(summary(verdicts, catalogue.load(), seconds) + "\n")
    if arguments.remember:
        killers = {
            verdict.mutant: str(verdict.killer)
            for verdict in verdicts
            if verdict.killer and verdict.killable
        }
        remember(killers, frozenset(matching()))
    if arguments.json:
        arguments.json.write_text(json.dumps(as_document(verdicts, seconds), indent=1) + "\n")
    return 0 if all(verdict.as_expected for verdict in verdicts) else 1


def _turn(name: str) -> bool:
    """Sort equivalent mutants first, because they run the most checks."""
    return by_name(name).killable


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("globs", nargs="*", metavar="NAME-GLOB", help="only mutants named so")
    parser.add_argument(
        "--jobs", type=int, default=3 * cores(), help="processes (default: three a core)"
    )
    parser.add_argument(
        "--full", action="store_true", help="judge equivalent mutants by every check everywhere"
    )
    parser.add_argument(
        "--sample", type=int, default=0, metavar="N", help="judge N mutants, drawn by the seed"
    )
    parser.add_argument("--seed", default="0", help="seed of what is drawn (default: 0)")
    parser.add_argument("--list", action="store_true", help="list the mutants and exit")
    parser.add_argument("--verbose", "-v", action="store_true", help="a line for each mutant")
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="write the verdicts to a file; with --all-checks-only, continue it",
    )
    parser.add_argument(
        "--remember",
        action="store_true",
        help="write which check killed each mutant: it runs first from then on",
    )
    parser.add_argument(
        "--all-checks-only",
        action="store_true",
        help="judge by the checks ALL-* alone, and list the mutants that they do not find",
    )
    parser.add_argument(
        "--planted",
        type=int,
        default=0,
        metavar="N",
        help="judge N random exemptions by the checks ALL-* alone, drawn by the seed",
    )
    parser.add_argument(
        "--selfcheck",
        action="store_true",
        help="run the self-check in pods of each mutant, and list those that it does not see",
    )
    parser.add_argument(
        "--matrix", action="store_true", help="run every check on each mutant, and print who kills"
    )
    parser.add_argument(
        "--why",
        action="store_true",
        help="explain each failure, and count the explanations that name the changed rule",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=1.0,
        metavar="S",
        help="when a flow counts as unanswered; a correct one is answered in milliseconds",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
