"""Texts of rules without what differs from pod to pod."""

from __future__ import annotations

import re
from typing import Final

from pytest_fsmredir.rules.seek import Seeker

_COUNTERS: Final = re.compile(r"^\[\d+:\d+\] |\bcounter packets \d+ bytes \d+")
_NAMED_ELSEWHERE: Final = re.compile(r"\bset\b|map\b|@|\bjhash\b")
"""Sets and maps, whose elements differ from pod to pod."""
_NUMBERS: Final = re.compile(r"(?<![\w.:/])[0-9a-f.:/,]*\d[0-9a-f.:/,]*(?![\w.:/])")
"""Ports, addresses and users, alone or in lists."""
_DIGITS: Final = re.compile(r"[0-9a-f]+")


def text_alone(text: str) -> str | None:
    """Return the text of a rule without counters; None if it does not say all about the rule."""
    plain = _COUNTERS.sub("", text)
    return None if _NAMED_ELSEWHERE.search(plain) else plain


def forms(seeker: Seeker) -> frozenset[str] | None:
    """Return the forms of a pod's rules; None if a text does not say all about its rule.

    Two rules have one form if they differ in numbers and in the lengths of lists only. The model
    reads both by the same code.
    """
    found = set[str]()
    for chain in seeker.model.rules.chains.values():
        for rule in chain.rules if seeker.space.family in chain.families else ():
            text = text_alone(rule.text)
            if text is None:
                return None
            found.add(f"{chain.origin} {chain.table} {chain.name} {_NUMBERS.sub(_form_of, text)}")
    return frozenset(found)


def _form_of(numbers: re.Match[str]) -> str:
    """Return how numbers are written: ``N,N:N`` for ports and ranges of ports."""
    return ",".join(sorted({_DIGITS.sub("N", each) for each in numbers[0].split(",")}))
