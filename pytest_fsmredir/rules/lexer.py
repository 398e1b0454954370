"""Split the text of a file into lines, and a line of iptables into words."""

from __future__ import annotations

import re
from typing import Final

from pytest_fsmredir.rules.errors import RulesError

SIZE_LIMIT: Final = 64 * 1024 * 1024
LINE_LIMIT: Final = 1024 * 1024
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_WORD = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([^\s"]+))(?=\s|$)')


def lines_of(text: str) -> list[str]:
    """Return the lines of a file of rules; the number of a line is its index plus 1.

    Raises:
        RulesError: The file is too large, or a line contains a control character.
    """
    if len(text) > SIZE_LIMIT:
        raise RulesError(f"the file is longer than {SIZE_LIMIT} characters")
    lines = text.replace("\r\n", "\n").split("\n")
    for number, line in enumerate(lines, 1):
        # "nft -j" prints a whole ruleset in one line; the limit of the file applies to it.
        if len(line) > LINE_LIMIT and not line.startswith("{"):
            raise fault(number, f"the line is longer than {LINE_LIMIT} characters", line)
        found = _CONTROL.search(line)
        if found:
            raise fault(number, f"the line holds the control character {found[0]!r}", line)
    return lines


def words_of(line: str) -> list[str]:
    """Return the words of a line; a word in double quotes may contain blanks and escaped quotes.

    Raises:
        ValueError: A quote is not closed.
    """
    if '"' not in line:
        return line.split()
    words, at = [], 0
    line = line.rstrip()
    while at < len(line):
        found = _WORD.match(line, at)
        if found is None:
            raise ValueError(f"a quote is not closed: {line[at : at + 40].strip()!r}")
        quoted, plain = found.groups()
        words.append(re.sub(r"\\(.)", r"\1", quoted) if plain is None else plain)
        at = found.end()
    return words


def fault(number: int, why: str, line: str) -> RulesError:
    """Return the error for a line."""
    shown = line.strip()[:120].encode("unicode_escape").decode("ascii")
    return RulesError(f"line {number}: {why}: {shown}")
