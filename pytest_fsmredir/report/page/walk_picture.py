"""The picture of a flow's way through the rules: a lane for each chain, a box for each rule."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from pytest_fsmredir.model.followed import Part
from pytest_fsmredir.report.page.lines import columns, wrapped
from pytest_fsmredir.report.render import template
from pytest_fsmredir.text import counted

WIDTH = 360
_LINE = 15
_HEAD = 24
_PADDING = 7
_GAP = 6
_TEXT = 43  # characters of a line in a box
_NAME = 36  # characters of a chain's name
_APPENDED = re.compile(r"^-A \S+ ")
_REACHED = (Part.DECIDED, Part.MATCHED, Part.PASSED)

Step = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text.

    Attributes:
        y: Its baseline.
        text: The text.
        kind: The class for its style.
    """

    y: int
    text: str
    kind: str


@dataclass(frozen=True, slots=True)
class Box:
    """One rule.

    Attributes:
        y: Its top.
        height: Its height.
        kind: The classes for its style.
        lines: Its texts.
        tag: What it has to do with the fate; empty for an ordinary rule.
        tag_width: The width of the tag.
        node: The kind of its point on the way; empty if the flow does not reach it.
    """

    y: int
    height: int
    kind: str
    lines: tuple[Line, ...]
    tag: str
    tag_width: int
    node: str


@dataclass(frozen=True, slots=True)
class Lane:
    """A chain that the flow passes.

    Attributes:
        y: Its top.
        height: Its height.
        name: The names of the chain and of its table.
        boxes: Its rules.
        reached: Whether the flow passes it.
    """

    y: int
    height: int
    name: str
    boxes: tuple[Box, ...]
    reached: bool


def walk_picture(walk: Mapping[str, Any]) -> str:
    """Return the picture of a walk as SVG; empty if it has no rules."""
    steps: Sequence[Step] = walk["steps"]
    if not steps:
        return ""
    lanes = list(_lanes(steps))
    passed = [lane for lane in lanes if lane.reached]
    end = passed[-1].y + passed[-1].height + _GAP if passed else 0
    after = [lane for lane in lanes if not lane.reached]
    bottom = after[-1].y + after[-1].height if after else end + _HEAD + _LINE
    drawn: str = template("walk.svg").render(
        lanes=lanes,
        end=end,
        height=bottom + 2,
        width=WIDTH,
        end_text=wrapped(f"fate: {walk['end']}", _TEXT, 1)[0],
        wanted=wrapped(f"required: {walk['wanted']}", _TEXT, 1)[0],
        label=described(walk),
    )
    return drawn


def described(walk: Mapping[str, Any]) -> str:
    """Return the picture in words."""
    matching = [_named(step) for step in walk["steps"] if _matches(step)]
    way = f": {', '.join(matching)} match" if matching else ", of which none matches"
    number = sum(step["part"] in _REACHED for step in walk["steps"])
    return (
        f"The flow reaches {counted(number, 'rule')}{way}."
        f" Its fate is {walk['end']}, the required fate is {walk['wanted']}."
    )


def _named(step: Step) -> str:
    return f"{wrapped(step['chain'], _NAME, 1)[0]} #{step['number']}"


def _matches(step: Step) -> bool:
    return step["part"] in (Part.DECIDED, Part.MATCHED)


def _lanes(steps: Sequence[Step]) -> Iterator[Lane]:
    y = 0
    taken = False
    for (table, chain, reached), members in groupby(steps, key=_lane_of):
        if not reached and not taken:
            taken, y = True, y + _HEAD + _LINE + _GAP if y else 0
        boxes = tuple(_boxes(list(members), y + _HEAD, steps))
        bottom = boxes[-1].y + boxes[-1].height + _PADDING
        name = wrapped(f"{chain} · {table}", _NAME - (0 if reached else 12), 1)[0]
        yield Lane(y, bottom - y, name, boxes, reached)
        y = bottom + _GAP


def _lane_of(step: Step) -> tuple[str, str, bool]:
    return step["table"], step["chain"], step["part"] != Part.UNREACHED


def _boxes(members: Sequence[Step], y: int, steps: Sequence[Step]) -> Iterator[Box]:
    before = 0
    for step in members:
        skipped = step["number"] - before - 1 if before and step["number"] else 0
        before = step["number"] or before
        if skipped > 0:
            text = f"{counted(skipped, 'rule')} not shown"
            yield Box(y, _LINE + 4, "skipped", (Line(y + 13, text, "note"),), "", 0, "")
            y += _LINE + 4 + _GAP
        box = _box(step, y, steps)
        yield box
        y += box.height + _GAP


def _box(step: Step, y: int, steps: Iterable[Step]) -> Box:
    words = tag(step, steps)
    top = y + _PADDING + (_LINE if words else 0)
    texts = [(text, "rule") for text in wrapped(_rule(step), _TEXT)]
    texts += [(text, "note") for text in wrapped(_note(step), _TEXT, 2) if text]
    lines = tuple(
        Line(top + _LINE * place + 11, text, kind) for place, (text, kind) in enumerate(texts)
    )
    height = top - y + _LINE * len(texts) + _PADDING - 2
    kind = step["part"].replace(" ", "-") + (" blamed" if step["blamed"] else "")
    node = step["part"].replace(" ", "-") if step["part"] in _REACHED else ""
    return Box(y, height, kind, lines, words, 7 * columns(words) + 12, node)


def _rule(step: Step) -> str:
    if step["part"] == Part.MISSING:
        return "no rule here takes this flow"
    return f"#{step['number']} {_APPENDED.sub('', step['rule'])}"


def _note(step: Step) -> str:
    if step["part"] == Part.PASSED:
        return f"does not match: {step['note']}" if step["note"] else "does not match"
    return f"→ {step['note']}" if step["note"] else ""


def tag(step: Step, steps: Iterable[Step]) -> str:
    """Return what a rule has to do with the fate; empty for an ordinary rule."""
    decides = step["part"] == Part.DECIDED
    if not step["blamed"]:
        return "decides" if decides else ""
    if step["part"] == Part.UNREACHED:
        return "never reached"
    if _matches(step):
        return "decides, at fault" if decides else "at fault"
    chains = {each["chain"] for each in steps if each["part"] == Part.MISSING}
    nearest = step["part"] == Part.PASSED and step["chain"] in chains
    return "the nearest rule" if nearest else "should have decided"
