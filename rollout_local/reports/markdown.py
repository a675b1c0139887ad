"""Blocks as Markdown. Text of models and users is escaped, or fenced by a fence longer than any in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from rollout_local.reports.blocks import Block, Case, Grid, Heading, Lines, Say, Side, Tone
from rollout_local.reports.escape import one_line, visible

_READ = re.compile(r"[\\`*_\[\]|~<>&$@]|(?<=\w):(?=/)|(?<=www)\.")
_ENTITIES = {char: f"&#{ord(char)};" for char in ":.@"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"}


def draw(blocks: Sequence[Block]) -> str:
    """The blocks as one Markdown document, ending in a newline."""
    return "\n\n".join(_DRAW[type(block)](block) for block in blocks) + "\n"


def escaped(text: str) -> str:
    """`text` on one line with nothing in it that Markdown or HTML would read; addresses do not become links."""
    return _READ.sub(lambda found: _ENTITIES.get(found[0], "\\" + found[0]), one_line(text))


def fenced(text: str, language: str = "") -> str:
    """`text` as a code block."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{visible(text)}\n{fence}"


def _heading(block: Heading) -> str:
    return f"{'#' * block.level} {escaped(block.text)}"


def _say(block: Say) -> str:
    mark = "" if block.tone is Tone.PLAIN else "**"
    return f"{mark}{escaped(block.text)}{mark}"


def _grid(block: Grid) -> str:
    rules = ["---:" if align == "r" else "---" for align in block.align]
    rows = [[escaped(cell) for cell in row] for row in [block.columns, *block.rows]]
    return "\n".join(f"| {' | '.join(row)} |" for row in [rows[0], rules, *rows[1:]])


def _lines(block: Lines) -> str:
    return fenced("\n".join(block.lines), "diff" if block.is_diff else "")


def _case(block: Case) -> str:
    title = f"**{block.lift} {escaped(block.task)}** ({block.before.score} to {block.after.score})"
    return "\n\n".join([title, _side(block.before), _side(block.after)])


def _side(side: Side) -> str:
    return f"{escaped(side.label)}, {side.score}: {escaped(side.feedback)}\n\n{fenced(side.output)}"


_DRAW: dict[type[Block], Callable[[Any], str]] = {
    Heading: _heading, Say: _say, Grid: _grid, Lines: _lines, Case: _case,
}  # fmt: skip
