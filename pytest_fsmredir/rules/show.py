"""Format rules, paths and findings as lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pytest_fsmredir.rules.bdd import NONE
from pytest_fsmredir.rules.compare import Change
from pytest_fsmredir.rules.ends import Asked
from pytest_fsmredir.rules.forms import Chain, Goto, Jump, Rule, Unknown
from pytest_fsmredir.rules.hygiene import IdleRule
from pytest_fsmredir.rules.packet import ACK, SYN
from pytest_fsmredir.rules.prove import Finding
from pytest_fsmredir.rules.ruleset import RuleSet, parts
from pytest_fsmredir.rules.trace import Path, first_failing

_WIDEST = 100


def rules_lines(rules: RuleSet) -> Iterator[str]:
    """Yield every chain with its rules, and the conditions that are not understood."""
    for chain in rules.chains.values():
        if chain.rules or chain.hook is None or not chain.accepts:
            yield _head(chain)
            yield from (f"  #{rule.number:<4} {_brief(rule)}" for rule in chain.rules)
    for remark in (*rules.remarks, *not_understood(rules)):
        yield f"not understood: {remark}"


def not_understood(rules: RuleSet) -> list[str]:
    """Return the conditions that the model does not understand."""
    return [
        f"{_place(rule)}: {part.what}"
        for chain in rules.chains.values()
        for rule in chain.rules
        for condition in rule.conditions
        for part in parts(condition.test)
        if isinstance(part, Unknown)
    ]


def path_lines(path: Path) -> Iterator[str]:
    """Yield the path of a packet: each rule that it reached, and why it continued."""
    last = None
    for asked in path.asked:
        where = f"{asked.hook.value.upper()} {asked.chain.table} {asked.chain.name}"
        shown = where if where != last else "…".ljust(len(where))
        last = where
        yield f"{shown}  #{asked.rule.number:<3} {_brief(asked.rule)}    {_result(asked)}".rstrip()
    yield f"{path.packet}: {' or '.join(map(str, path.ends))}{decided(path)}"


def finding_lines(number: int, finding: Finding) -> Iterator[str]:
    """Yield the difference that a finding describes, and the rule that causes it."""
    duty = finding.duty
    wanted = "the fate of its connection" if finding.later else duty.route.value
    about = f"{subsequent(finding)}: " if finding.later else ""
    yield f"{number}. {duty.level.value} {duty.sentence}: {finding.packet}"
    seen = finding.end if not finding.depends else " or ".join(map(str, finding.path.ends))
    yield f"   expected {wanted}; these rules: {about}{seen}"
    yield f"   {reason(finding.shown)}"
    for what in finding.depends:
        yield f"   not certain: it depends on {what}"


def subsequent(finding: Finding) -> str:
    """Return which packets after the first of a connection a finding is about."""
    words = "its answers" if finding.answers else "its later packets"
    if finding.following is None:
        return words
    later = finding.following.packet
    flags = SYN if later.tcp_flags == ACK else later.tcp_flags
    unusual = replace(later, tcp_flags=flags, mark=0, interface="eth0").unusual()
    return f"{words} ({', '.join(unusual)})" if unusual else words


def change_lines(number: int, change: Change) -> Iterator[str]:
    """Yield a change of fate, and the rules that cause it."""
    yield f"{number}. {change.before.packet}"
    for words, path in (("before", change.before), ("after", change.after)):
        yield f"   {words}: {' or '.join(map(str, path.ends))}; {reason(path)}"


def idle_line(idle: IdleRule, family: int) -> str:
    """Return which rule no packet of an IP version matches, and why."""
    where = f" in IPv{family}" if len(idle.chain.families) > 1 else ""
    return f"never acts{where}: {_place(idle.rule)}, because {idle.why}: {_brief(idle.rule)}"


def reason(path: Path) -> str:
    """Return which rule decides the fate of a packet, or which condition fails."""
    decider, missed = path.decider, path.missed
    if decider is not None:
        return f"decided by {_place(decider.rule)}: {_brief(decider.rule)}"
    if missed is not None:
        asked, place = missed
        condition = asked.rule.conditions[place].text
        return f"no rule matches: {_place(asked.rule)} requires {condition}: {_brief(asked.rule)}"
    return "no rule matches"


def decided(path: Path) -> str:
    """Return the deciding rule in parentheses."""
    decider = path.decider
    return f" (by {_place(decider.rule)})" if decider else ""


def _result(asked: Asked) -> str:
    if asked.hit == NONE:
        failing = first_failing(asked)
        return f"no: {failing.text}" if failing else "no"
    if asked.hit != 1:
        return "perhaps"
    jumps = [action for action in asked.rule.actions if isinstance(action, (Jump, Goto))]
    return f"→ {jumps[0].chain}" if jumps else "yes"


def _place(rule: Rule) -> str:
    return f"line {rule.line}" if rule.line else f"rule {rule.number}"


def _head(chain: Chain) -> str:
    if chain.hook is None:
        return f"{chain.origin} {chain.table} {chain.name}"
    policy = "accept" if chain.accepts else "drop"
    place = f"{chain.hook.value} {chain.kind.value} {chain.priority}, policy {policy}"
    return f"{chain.origin} {chain.table} {chain.name} ({place})"


def _brief(rule: Rule) -> str:
    text = rule.text
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"
