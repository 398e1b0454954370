"""Read the output of ``iptables-save`` and ``ip6tables-save``, both variants, and rules files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from pytest_fsmredir.rules.forms import (
    DEVICE_HOOKS,
    Action,
    Chain,
    Condition,
    Goto,
    Hook,
    Jump,
    Kind,
    Not,
    Rule,
    Test,
    Unknown,
)
from pytest_fsmredir.rules.iptables_matches import (
    BASE,
    LONG,
    MODULES,
    VARYING,
    WHOLE,
    WITH_PORTS,
    Option,
    Setting,
)
from pytest_fsmredir.rules.iptables_targets import actions_of, options_of
from pytest_fsmredir.rules.lexer import fault, words_of
from pytest_fsmredir.rules.ruleset import RuleSet, parts
from pytest_fsmredir.rules.sets import IpSet

Numbered = Sequence[tuple[int, str]]
"""Lines with their numbers in the file."""

_HOOKS: Final[Mapping[str, Hook]] = {hook.name: hook for hook in Hook if hook not in DEVICE_HOOKS}
_TABLES: Final[Mapping[str, tuple[int, tuple[str, ...]]]] = {
    "raw": (-300, ("PREROUTING", "OUTPUT")),
    "mangle": (-150, ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")),
    "nat": (-100, ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING")),
    "filter": (0, ("INPUT", "FORWARD", "OUTPUT")),
    "security": (50, ("INPUT", "FORWARD", "OUTPUT")),
}
"""Priority (linux/netfilter_ipv4.h) and built-in chains; source NAT has priority 100."""

_COUNTERS = re.compile(r"\[(\d+):(\d+)\]")
_FILLED = re.compile(r"--(?:add|del|map)-set (\S+)")
_RULE_LIMIT = 250_000


def read(lines: Numbered, family: int, sets: Mapping[str, IpSet], into: RuleSet) -> None:
    """Add the tables of a listing to a rule set.

    Args:
        lines: The lines of the listing, with their numbers.
        family: IP version of its rules.
        sets: The sets that ``-m set`` can refer to.
        into: The rule set to add to.

    Raises:
        RulesError: A line cannot be read or the listing is cut short; the message names the line.
    """
    variant = "legacy" if not any("(nf_tables)" in line for _, line in lines[:1]) else "nft"
    for _, line in lines:
        for name in _FILLED.findall(line):
            if name in sets:
                sets[name].unclear = "a rule changes it"
    reader = _Reader(Setting(family, sets), f"iptables-{variant} IPv{family}", into)
    for number, line in lines:
        text = line.strip()
        if text and not text.startswith("#"):
            reader.take(number, text)
    reader.end(lines[-1][0] if lines else 1)


class _Line(NamedTuple):
    """A rule that is parsed at the end of its table, when every chain is known."""

    number: int
    words: list[str]
    text: str
    packets: int | None


class _Reader:
    def __init__(self, setting: Setting, origin: str, into: RuleSet) -> None:
        self._setting, self._origin, self._into = setting, origin, into
        self._table, self._opened = "", 0
        self._chains: dict[str, Chain] = {}
        self._waiting: dict[str, list[_Line]] = {}
        self._conditions: dict[tuple[str, ...], Condition] = {}
        self._rules = 0

    def take(self, number: int, line: str) -> None:
        """Read one line."""
        try:
            if line.startswith("*"):
                self._open(number, line[1:].strip())
            elif not self._table:
                self._no_table()
            elif line == "COMMIT":
                self._close()
            else:
                self._command(number, line)
        except ValueError as why:
            raise fault(number, str(why), line) from None

    def end(self, number: int) -> None:
        """Raise an error if the listing ends within a table."""
        if self._table:
            why = f"the table {self._table}, opened in line {self._opened}, has no COMMIT"
            raise fault(number, why, f"*{self._table}")

    def _no_table(self) -> None:
        raise ValueError("a rule stands before any table, such as *nat")

    def _open(self, number: int, name: str) -> None:
        if self._table:
            raise ValueError(f"the table {self._table} has no COMMIT")
        if name not in _TABLES:
            raise ValueError(f"there is no table {name!r}; known: {', '.join(_TABLES)}")
        self._table, self._opened = name, number
        known = [c for c in self._into.chains.values() if self._is_ours(c)]
        self._chains = {chain.name: chain for chain in known}
        priority, hooks = _TABLES[name]
        for hook in hooks:
            self._chains.setdefault(hook, self._built_in(hook, priority))

    def _built_in(self, hook: str, priority: int) -> Chain:
        kind = {"nat": Kind.NAT, "mangle": Kind.ROUTE}.get(self._table, Kind.FILTER)
        late = self._table == "nat" and hook in {"INPUT", "POSTROUTING"}
        made = self._chain(hook, 0)
        made.hook, made.kind = _HOOKS[hook], kind
        made.priority = 100 if late else priority
        return made

    def _is_ours(self, chain: Chain) -> bool:
        return chain.origin == self._origin and chain.table == self._table

    def _chain(self, name: str, number: int) -> Chain:
        family = (self._setting.family,)
        return Chain(name, self._table, self._origin, families=family, line=number)

    def _command(self, number: int, line: str) -> None:
        words = words_of(line)
        packets = None
        counted = _COUNTERS.fullmatch(words[0])
        if counted:
            packets = int(counted[1])
            words = words[1:]
        match words:
            case [first, *rest] if first.startswith(":"):
                self._declare(first[1:] or (rest.pop(0) if rest else ""), rest, number)
            case ["-N" | "--new-chain", name]:
                self._declare(name, ["-"], number)
            case ["-P" | "--policy", name, policy, *_]:
                self._declare(name, [policy], number)
            case ["-A" | "--append", name, *rest]:
                self._keep(name, number, rest, line, packets, None)
            case ["-I" | "--insert", name, place, *rest] if place.isdigit():
                self._keep(name, number, rest, line, packets, int(place))
            case ["-I" | "--insert", name, *rest]:
                self._keep(name, number, rest, line, packets, 1)
            case ["-F" | "--flush", *_]:
                pass
            case _:
                raise ValueError("not a line of a listing by iptables-save")

    def _declare(self, name: str, rest: Sequence[str], number: int) -> None:
        if not name or not rest:
            raise ValueError("a chain's declaration has a name and a policy")
        chain = self._chains.setdefault(name, self._chain(name, number))
        chain.line = number
        if rest[0] not in {"ACCEPT", "DROP", "-"} or (rest[0] == "DROP" and chain.hook is None):
            raise ValueError(f"{rest[0]!r} is not a policy that the chain {name!r} can have")
        chain.accepts = rest[0] != "DROP"

    def _keep(
        self, name: str, number: int, words: list[str], line: str, packets: int | None,
        place: int | None,
    ) -> None:  # fmt: skip
        self._rules += 1
        if self._rules > _RULE_LIMIT:
            raise ValueError(f"more than {_RULE_LIMIT} rules")
        if name not in self._chains:
            raise ValueError(f"the chain {name!r} is not declared")
        waiting = self._waiting.setdefault(name, [])
        at = len(waiting) if place is None else place - 1
        waiting.insert(at, _Line(number, words, line, packets))

    def _close(self) -> None:
        for name, chain in self._chains.items():
            for line in self._waiting.get(name, ()):
                try:
                    chain.rules.append(self._rule(line, len(chain.rules) + 1))
                except ValueError as why:
                    raise fault(line.number, str(why), line.text) from None
            self._into.chains[self._origin, self._table, name] = chain
        self._table, self._waiting = "", {}

    def _rule(self, line: _Line, place: int) -> Rule:
        parsed = _parsed(line.words, self._setting, self._conditions)
        actions: tuple[Action, ...] = ()
        if parsed.target in self._chains:
            actions = (Goto(parsed.target) if parsed.goto else Jump(parsed.target),)
        elif parsed.goto:
            raise ValueError(f"the chain {parsed.target!r} is not declared")
        elif parsed.target:
            actions = actions_of(parsed.target, options_of(parsed.rest))
            if parsed.target == "CT" and "--timeout" in parsed.rest:
                self._into.limit_time(f"line {line.number}, -j CT --timeout")
        conditions = tuple(parsed.conditions)
        return Rule(conditions, actions, line.number, line.text, place, line.packets)


@dataclass(slots=True)
class _Parsed:
    conditions: list[Condition] = field(default_factory=list)
    target: str = ""
    goto: bool = False
    rest: list[str] = field(default_factory=list)


def _parsed(words: list[str], setting: Setting, known: dict[tuple[str, ...], Condition]) -> _Parsed:
    found = _Parsed()
    cursor = _Cursor(words, setting, found, known)
    while cursor.more():
        cursor.step()
    cursor.finish()
    return found


class _Cursor:
    """Parses the words of one rule."""

    def __init__(
        self,
        words: list[str],
        setting: Setting,
        into: _Parsed,
        known: dict[tuple[str, ...], Condition],
    ) -> None:
        self._words, self._at = words, 0
        self._setting, self._into, self._known = setting, into, known
        self._modules: list[str] = []
        self._unknown: dict[str, list[str]] = {}

    def more(self) -> bool:
        """Whether words of the matches remain."""
        return self._at < len(self._words) and not self._into.target

    def step(self) -> None:
        """Read one option with its values."""
        negated = self._words[self._at] == "!"
        self._at += negated
        word = self._next("an option")
        word = LONG.get(word, word)
        if word in {"-j", "-g"}:
            self._into.target = self._next("a target")
            self._into.goto = word == "-g"
            self._into.rest = self._words[self._at :]
        elif word == "-m":
            self._load(self._next("a match"))
        elif word == "-c":
            self._at += 2
        else:
            self._option(word, negated)

    def finish(self) -> None:
        """Add a condition for each module whose options were not understood."""
        for module, words in self._unknown.items():
            text = " ".join(words)
            self._into.conditions.append(Condition(text, Unknown(text, module in VARYING)))

    def _load(self, module: str) -> None:
        self._modules.append(module)
        if module in WHOLE:
            test = WHOLE[module]((), self._setting)
            self._into.conditions.append(Condition(f"-m {module}", test))
        elif module not in MODULES or (module == "owner" and "--suppl-groups" in self._words):
            self._unknown.setdefault(module, ["-m", module])

    def _option(self, word: str, negated: bool) -> None:
        module, option = self._lookup(word)
        if option is None or module in self._unknown:
            self._pass_over(module, word, negated)
            return
        values = [self._next(f"a value of {word}") for _ in range(option.values)]
        if values and values[0] == "!":  # the old position of the negation
            negated, values = True, [*values[1:], self._next(f"a value of {word}")]
        if word == "-p" and values[0].lower() in WITH_PORTS:
            self._modules.append(values[0].lower())
        if option.read is not None:
            key = (module, "!" if negated else "", word, *values)
            condition = self._known.get(key)
            if condition is None:
                test: Test = option.read(values, self._setting)
                text = " ".join([*(["!"] if negated else []), word, *values])
                condition = Condition(text, Not(test) if negated else test)
                if not any(isinstance(part, Unknown) for part in parts(test)):
                    self._known[key] = condition  # two unknown tests are never the same
            self._into.conditions.append(condition)

    def _lookup(self, word: str) -> tuple[str, Option | None]:
        if word in BASE:
            return "", BASE[word]
        if not word.startswith("-"):
            raise ValueError(f"{word!r} is not an option")
        for module in reversed(self._modules):
            if word in MODULES.get(module, {}):
                return module, MODULES[module][word]
        if not self._modules:
            raise ValueError(f"{word!r} is not a known option")
        return self._modules[-1], None

    def _pass_over(self, module: str, word: str, negated: bool) -> None:
        kept = self._unknown.setdefault(module, ["-m", module])
        kept += [*(["!"] if negated else []), word]
        while self._at < len(self._words) and not self._is_option(self._words[self._at]):
            kept.append(self._next("a value"))

    def _is_option(self, word: str) -> bool:
        return word == "!" or (len(word) > 1 and word[0] == "-" and not word[1].isdigit())

    def _next(self, what: str) -> str:
        if self._at >= len(self._words):
            raise ValueError(f"the line ends where {what} is expected")
        self._at += 1
        return self._words[self._at - 1]
