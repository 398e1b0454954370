"""Find the implementation under test, its claims, and the point where a run gives it up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from pytest_fsmredir.errors import SettingsError
from pytest_fsmredir.implementations.base import Completed, Hung, Refused, Target
from pytest_fsmredir.implementations.circuit_breaker import CircuitBreaker
from pytest_fsmredir.implementations.init_command import InitCommand
from pytest_fsmredir.implementations.select import ClaimSource, claims, select
from pytest_fsmredir.model.features import ALL_FEATURES, Feature

MODULE = """\
class Good:
    name = "good"
    features = frozenset({"ipv6"})
    def program(self, target): ...

good = Good()
class Needy(Good):
    def __init__(self, something): ...
class Nameless:
    features = frozenset()
    def program(self, target): ...
class Odd(Good):
    features = frozenset({"ipv7"})
"""


@pytest.fixture
def acme(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A directory with a module of implementations, under a unique name."""
    (tmp_path / "acme_implementations.py").write_text(MODULE)
    return tmp_path


@pytest.mark.parametrize("attribute", ["Good", "good"])
def test_class_and_object_are_accepted(acme: Path, attribute: str) -> None:
    """Catches: a module in the project that is not found, or a class that is not instantiated."""
    found = select(f"acme_implementations:{attribute}", directory=acme)
    assert found.name == "good"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("referense", "did you mean 'reference'.*there are: .*reference"),
        ("acme_implementations:Goood", "has no 'Goood'; did you mean 'Good'"),
        ("acme_implementations:Needy", "calling it without arguments raised TypeError"),
        ("acme_implementations:Nameless", "has no name"),
        ("acme_implementations:Odd", "no feature 'ipv7'; did you mean 'ipv6'"),
        ("no_such_module:x", "cannot be imported: ModuleNotFoundError"),
    ],
)
def test_other_objects_are_refused(acme: Path, name: str, message: str) -> None:
    """Catches: a traceback, or a message that does not list the alternatives."""
    with pytest.raises(SettingsError, match=f"^FSM_IMPL: .*{message}"):
        select(name, where="FSM_IMPL", directory=acme)


@pytest.mark.parametrize(
    ("statements", "features"),
    [
        ([], ALL_FEATURES),
        ([("-ipv6",)], ALL_FEATURES - {Feature.IPV6}),
        ([("ipv6", "hairpin")], {Feature.IPV6, Feature.HAIRPIN}),
        ([("ipv6",), ("+hairpin", "-ipv6")], {Feature.HAIRPIN}),
        ([("-ipv6",), ("removal",)], {Feature.REMOVAL}),
        ([("ipv6",), ()], set()),
        ([(), ("+hairpin",)], {Feature.HAIRPIN}),
    ],
)
def test_later_statement_changes_the_earlier_ones(
    statements: list[Sequence[str]], features: frozenset[Feature]
) -> None:
    """Catches: a change applied to the wrong set, or an empty list that claims everything."""
    said = {f"statement {number}": statement for number, statement in enumerate(statements)}
    assert claims(InitCommand("true"), said, inferred=True).features == features


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (("ipv6", "-hairpin"), "either a list of features, or changes"),
        (("+ipv7",), "no feature 'ipv7'; did you mean 'ipv6'"),
    ],
)
def test_bad_statement_is_refused(statement: Sequence[str], message: str) -> None:
    """Catches: a claim that is dropped because it is misspelled."""
    with pytest.raises(SettingsError, match=f"^FSM_FEATURES: .*{message}"):
        claims(InitCommand("true"), {"FSM_FEATURES": statement}, inferred=True)


def test_source_of_the_claims_is_named() -> None:
    """Catches: a report that says "declared" without a declaration."""
    command = InitCommand("true")
    assert claims(command, {}, inferred=True).source is ClaimSource.INFERRED
    assert claims(command, {"ini": ("+ipv6",)}, inferred=True).source is ClaimSource.DECLARED
    assert claims(command, {"ini": ()}, inferred=True).source is ClaimSource.DECLARED
    assert claims(select("reference"), {}, inferred=False).source is ClaimSource.DECLARED


class Shell:
    """A pod that records its shell commands, and ends them with a given status."""

    def __init__(self, status: int = 0, stderr: str = "") -> None:
        self.ended, self.lines = Completed(status, "", stderr), list[str]()

    def run(self, argv: Sequence[str], stdin: str = "") -> Completed:
        self.lines.append(argv[-1])
        return self.ended

    def runs(self, command: str, base: Path | None) -> str:
        """Return the command that runs for a command given in a directory."""
        InitCommand(command, base=base).program(cast("Target", self))
        return self.lines[-1]

    def refusal(self) -> str:
        """Return the message for the way a command ended."""
        with pytest.raises(Refused) as caught:
            InitCommand("x").program(cast("Target", self))
        return str(caught.value)


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("./init.sh", "'{here}/init.sh'"),
        (" sub/init.sh -v $X; exit $?", "'{here}/sub/init.sh' -v $X; exit $?"),
        ("./init.sh|cat ./init.sh", "'{here}/init.sh'|cat ./init.sh"),
        ("./nowhere.sh", "./nowhere.sh"),
        ("./sub", "./sub"),
        ("init.sh", "init.sh"),
        ("sh ./init.sh", "sh ./init.sh"),
        ("/bin/init.sh", "/bin/init.sh"),
        ("./init.sh*", "./init.sh*"),
        ("~/init.sh", "~/init.sh"),
        ("./init.sh\\ x", "./init.sh\\ x"),
    ],
)
def test_path_of_a_program_is_relative_to_the_given_directory(
    tmp_path: Path, command: str, line: str
) -> None:
    """Catches: a command started from an empty directory, or a changed word that is not a path."""
    here = tmp_path / "a directory"
    for file in (here / "init.sh", here / "sub" / "init.sh"):
        file.parent.mkdir(exist_ok=True)
        file.touch()
    assert Shell().runs(command, here) == line.format(here=here)
    assert Shell().runs(command, None) == command


def test_command_for_a_cluster_is_unchanged(tmp_path: Path) -> None:
    """Catches: a path of this machine in an init image."""
    (tmp_path / "init.sh").touch()
    implementation = select("", init_cmd="./init.sh", init_cmd_base=tmp_path)
    assert isinstance(implementation, InitCommand)
    assert (implementation.command, implementation.name) == ("./init.sh", "./init.sh")


@pytest.mark.parametrize(
    ("status", "stderr", "hint"),
    [
        (127, "sh: 1: x: not found", " (it ran in an empty directory: give paths in full)"),
        (2, "sh: 0: cannot open x: No such file", " (it ran in an empty directory: give paths in"),
        (126, "sh: 1: ./x: Permission denied", " (is that file executable?)"),
        (2, "no such table", ""),
    ],
)
def test_missing_program_has_a_hint(status: int, stderr: str, hint: str) -> None:
    """Catches: "not found" for a file that the user can see."""
    told = Shell(status, stderr).refusal()
    assert told.startswith(f"the init command exited {status}: {stderr}{hint}")
    assert bool(hint) or told.endswith(stderr)


class Sleepy:
    """An implementation that hangs, ends or refuses on request."""

    name = "sleepy"
    features = ALL_FEATURES

    def __init__(self, *ends: type[Exception] | None) -> None:
        self.ends = list(ends)

    def program(self, target: Target) -> None:
        end = self.ends.pop(0)
        if end is not None:
            raise end("so it ended")


def endings(implementation: Sleepy, deadline_s: float, pods: int) -> list[str]:
    """Program some pods and return how each attempt ended."""
    patience, seen = CircuitBreaker(implementation, deadline_s), []
    for _ in range(pods):
        try:
            patience.program(cast("Target", None))
            seen.append("done")
        except Refused as refusal:
            seen.append(f"{type(refusal).__name__}: {refusal}")
    return seen


def test_two_hangs_in_a_row_are_enough() -> None:
    """Catches: an init command that hangs for 30 s in each of a hundred pods."""
    seen = endings(Sleepy(Hung, None, Hung, Refused, Hung, Hung), 0, 8)
    assert [each.partition(":")[0] for each in seen] == [
        "Hung", "done", "Hung", "Refused", "Hung", "Hung", "Hung", "Hung",
    ]  # fmt: skip
    assert seen[-1] == "Hung: sleepy was not run: it hung for 0 s on each of the last 2 pods"


def test_kill_before_the_deadline_is_not_a_hang() -> None:
    """Catches: a check that kills the command half-way and thereby ends the whole run."""
    seen = endings(Sleepy(Hung, Hung, Hung, None), 30, 4)
    assert seen[-1] == "done"
