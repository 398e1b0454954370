"""``python -m benchmarks.flakiness N``: count the outcomes that differ between runs.

This runs the suite once on an idle machine, and then N times in random order while all cores are
busy and the memory is full. A correct implementation has the same outcomes each time; the program
prints those that differ. All processes that it starts end with it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
RUN_LIMIT_S = 900
_HIGHEST_SEED = 2**32

Rows = Mapping[tuple[str, str], tuple[str, str]]
"""(outcome, reason) by (check, variant)."""


@dataclass(frozen=True, slots=True)
class Difference:
    """An outcome that differs from the run on the idle machine.

    Attributes:
        order: Seed of the run's order.
        check: The id of the check.
        variant: The variant of the run.
        expected: The outcome on the idle machine.
        seen: The outcome in this run, and its reason.
    """

    order: int
    check: str
    variant: str
    expected: str
    seen: str

    def __str__(self) -> str:
        where = f"{self.check}[{self.variant}]"
        return f"{where}: {self.expected} when idle; order {self.order}: {self.seen}"


def main(argv: Sequence[str]) -> int:
    """Do the runs, and return the exit status: 0 if no outcome differed."""
    arguments, more = _parser().parse_known_args(argv)
    print(f"seed {arguments.seed}")
    expected = _outcomes(more)
    print(f"when idle: {len(expected)} outcomes", flush=True)
    differences: list[Difference] = []
    orders = random.Random(arguments.seed)  # noqa: S311 - no secret
    with nullcontext() if arguments.no_pressure else pressure():
        for number in range(1, arguments.runs + 1):
            order = orders.randrange(_HIGHEST_SEED)
            began = time.perf_counter()
            found = list(_differences(order, expected, _outcomes(more, order)))
            differences += found
            seconds = time.perf_counter() - began
            print(f"run {number}, order {order}: {len(found)} differ, {seconds:.1f} s")
            for difference in found:
                print(f"  {difference}", flush=True)
    judged = arguments.runs * len(expected)
    print(f"{len(differences)} of {judged} outcomes in {arguments.runs} runs differed")
    return 1 if differences else 0


@contextmanager
def pressure() -> Iterator[None]:
    """Keep every core and the memory busy for the block."""
    with ExitStack() as undo:
        for kind in ("eat", *["burn"] * len(os.sched_getaffinity(0))):
            # Its input ends when this process ends, and then it ends too.
            argv = [sys.executable, "-m", "benchmarks.pressure", kind]
            process = subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE)
            undo.callback(process.wait)
            undo.callback(process.kill)
        yield


def _outcomes(more: Sequence[str], order: int | None = None) -> Rows:
    """Run the suite, and return the outcome of each check; empty if the run failed."""
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory, "report")
        argv = [
            "setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "pytest", "--fsm-conformance",
            "-q", "-p", "no:cacheprovider", "-p", "benchmarks.shuffled", f"--fsm-report={report}",
            *more,
        ]  # fmt: skip
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        if order is not None:
            env["FSM_ORDER"] = str(order)
        done = subprocess.run(
            argv, cwd=directory, env=env, capture_output=True, text=True, timeout=RUN_LIMIT_S,
            check=False,
        )  # fmt: skip
        try:
            checks = json.loads((report / "report.json").read_text())["checks"]
        except (OSError, ValueError):
            print(f"a run failed:\n{done.stdout}{done.stderr}", file=sys.stderr)
            return {}
    return {(row["id"], row["variant"]): (row["outcome"], row["reason"]) for row in checks}


def _differences(order: int, expected: Rows, seen: Rows) -> Iterator[Difference]:
    for (check, variant), (outcome, _) in expected.items():
        now, reason = seen.get((check, variant), ("nothing", "the run failed"))
        if now != outcome:
            yield Difference(order, check, variant, outcome, f"{now}: {reason}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.flakiness",
        description=__doc__,
        epilog="other arguments go to pytest, such as --fsm-iptables=both",
    )
    parser.add_argument("runs", type=int, nargs="?", default=50, metavar="N")
    parser.add_argument(
        "--seed", type=int, default=random.randrange(_HIGHEST_SEED),  # noqa: S311 - no secret
        help="the seed of the orders (random by default)",
    )  # fmt: skip
    parser.add_argument("--no-pressure", action="store_true", help="add no load to the machine")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
