"""Small changes to a rule set, which combine into mutants. Pure functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tests.mutants.correct import Case
from tests.mutants.rules import Rule, Rules

Change = Callable[[Rules, Case], Rules]


def unchanged(rules: Rules, case: Case) -> Rules:
    """Return the rules as they are."""
    del case
    return rules


def in_turn(*changes: Change) -> Change:
    """Make several changes, one after the other."""

    def change(rules: Rules, case: Case) -> Rules:
        for each in changes:
            rules = each(rules, case)
        return rules

    return change


def for_family(family: int, change: Change) -> Change:
    """Make a change to the rules of one IP version only."""
    return when(lambda case: case.family == family, change)


def when(condition: Callable[[Case], object], change: Change) -> Change:
    """Make a change only in some cases."""
    return lambda rules, case: change(rules, case) if condition(case) else rules


def each(tag: str, edit: Callable[[Rule], Rule]) -> Change:
    """Edit every rule of a tag."""
    return lambda rules, case: tuple(edit(rule) if rule.tag == tag else rule for rule in rules)


def drop(*tags: str) -> Change:
    """Remove every rule of some tags."""
    return lambda rules, case: tuple(rule for rule in rules if rule.tag not in tags)


def drop_matching(text: str) -> Change:
    """Remove every rule whose line contains the text, followed by a blank or the end."""
    return lambda rules, case: tuple(rule for rule in rules if f"{text} " not in f"{rule.line} ")


def substitute(tag: str, old: str, new: str) -> Change:
    """Replace words in the matches of a tag's rules."""
    return each(tag, lambda rule: replace(rule, match=rule.match.replace(old, new).strip()))


def match(tag: str, text: str) -> Change:
    """Replace the match of a tag's rules."""
    return each(tag, lambda rule: replace(rule, match=text))


def narrow(tag: str, words: str) -> Change:
    """Make the rules of a tag match less: add these words to the match."""
    return each(tag, lambda rule: replace(rule, match=f"{rule.match} {words}".strip()))


def verdict(tag: str, text: str) -> Change:
    """Give the rules of a tag another verdict."""
    return each(tag, lambda rule: replace(rule, verdict=text))


def verdict_for(tag: str, text: Callable[[Case], str]) -> Change:
    """Give the rules of a tag another verdict, which depends on the case."""
    return lambda rules, case: verdict(tag, text(case))(rules, case)


def narrow_for(tag: str, words: Callable[[Case], str]) -> Change:
    """Add words that depend on the case to the match of a tag's rules."""
    return lambda rules, case: narrow(tag, words(case))(rules, case)


def first(*new: Rule) -> Change:
    """Put rules before all others, at the start of their chains."""
    return lambda rules, case: (*new, *rules)


def last(*new: Rule) -> Change:
    """Put rules after all others, at the end of their chains."""
    return lambda rules, case: (*rules, *new)


def before(tag: str, *new: Rule) -> Change:
    """Put rules before the first rule of a tag; do nothing if the tag has no rule."""

    def change(rules: Rules, case: Case) -> Rules:
        place = next((n for n, rule in enumerate(rules) if rule.tag == tag), None)
        return rules if place is None else (*rules[:place], *new, *rules[place:])

    return change


def made(make: Callable[[Case], Rules]) -> Change:
    """Put rules that depend on the case before all others."""
    return lambda rules, case: (*make(case), *rules)


def to_front(tag: str) -> Change:
    """Move the rules of a tag before all others."""
    return lambda rules, case: (*_with(rules, tag), *_without(rules, tag))


def to_end(tag: str) -> Change:
    """Move the rules of a tag after all others."""
    return lambda rules, case: (*_without(rules, tag), *_with(rules, tag))


def moved_before(tag: str, other: str) -> Change:
    """Move the rules of a tag before the first rule of another tag."""

    def change(rules: Rules, case: Case) -> Rules:
        return before(other, *_with(rules, tag))(_without(rules, tag), case)

    return change


def copied(tag: str, chain: str) -> Change:
    """Put copies of a tag's rules at the start of another chain."""

    def change(rules: Rules, case: Case) -> Rules:
        return (*(replace(rule, chain=chain) for rule in _with(rules, tag)), *rules)

    return change


def filtered(tag: str, chain: str, kind: str) -> Change:
    """Drop or reject the matches of a tag's rules in the filter table."""

    def change(rules: Rules, case: Case) -> Rules:
        harm = (Rule(tag, chain, rule.match, kind, table="filter") for rule in _with(rules, tag))
        return (*rules, *harm)

    return change


def _with(rules: Rules, tag: str) -> Rules:
    return tuple(rule for rule in rules if rule.tag == tag)


def _without(rules: Rules, tag: str) -> Rules:
    return tuple(rule for rule in rules if rule.tag != tag)
