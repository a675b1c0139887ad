"""Reports as text for a terminal of at most 100 columns, Markdown, and one HTML page.

Text of models and users is drawn as it is read, never executed: no markup of ours is parsed in it, and
`visible` spells out what a terminal would act on. The environment is not asked: width and color are arguments.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rollout_local.reports.blocks import Block, Case, Grid, Heading, Lines, Say, Tone
from rollout_local.reports.escape import first_line, visible
from rollout_local.reports.markdown import draw as _draw_markdown
from rollout_local.reports.outline import brief, outline
from rollout_local.reports.page import draw as _draw_page
from rollout_local.reports.report import Report

WIDEST = 100
CASES_SHOWN = 12

_STYLES = {Tone.PLAIN: "", Tone.GOOD: "green", Tone.BAD: "red", Tone.NOTE: "yellow"}
_DIFF_STYLES = {"+": "green", "-": "red", "@": "cyan"}


def as_text(report: Report, width: int = WIDEST, color: bool = False) -> str:
    """The report for a terminal, with ANSI colors if `color`."""
    return blocks_as_text(outline(report), width, color=color)


def as_brief_text(report: Report, rest: str, width: int = WIDEST, color: bool = False) -> str:
    """The part of it that fits on two screens, the verdict at its end again; `rest` says where the rest is."""
    return blocks_as_text(brief(report, rest), width, color=color)


def as_markdown(report: Report) -> str:
    """The report as Markdown (CommonMark with tables)."""
    return _draw_markdown(outline(report))


def as_html(report: Report) -> str:
    """The report as one self-contained page: no script, nothing fetched, light and dark."""
    return _draw_page(outline(report), f"Promotion report: {report['target']['id']}")


def blocks_as_text(blocks: Sequence[Block], width: int, *, color: bool) -> str:
    """Blocks drawn one under the other, `width` columns wide (at most 100)."""
    sheet = io.StringIO()
    console = Console(
        file=sheet, width=max(20, min(width, WIDEST)), force_terminal=color, no_color=not color,
        color_system="standard" if color else None, highlight=False, markup=False, emoji=False, legacy_windows=False,
        _environ={},
    )  # fmt: skip
    for block in _abridged(blocks):
        console.print(_DRAW[type(block)](block), overflow="fold")
    return "\n".join(line.rstrip() for line in sheet.getvalue().split("\n"))


def _abridged(blocks: Sequence[Block]) -> list[Block]:
    """No more than `CASES_SHOWN` tasks in a row; the other formats have all of them."""
    kept: list[Block] = []
    row = 0
    for block in [*blocks, None]:
        if row > CASES_SHOWN and not isinstance(block, Case):
            kept.append(Say(f"  … and {row - CASES_SHOWN} more; --format json, md and html have all of them."))
        row = row + 1 if isinstance(block, Case) else 0
        if block is not None and row <= CASES_SHOWN:
            kept.append(block)
    return kept


def _text(text: str, style: str = "") -> Text:
    return Text(visible(text), style=style)


def _heading(block: Heading) -> RenderableType:
    return Padding(_text(block.text, "bold"), (int(block.level > 1), 0, 0, 0))


def _say(block: Say) -> RenderableType:
    return _text(block.text, _STYLES[block.tone])


def _grid(block: Grid) -> RenderableType:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name, align in zip(block.columns, block.align, strict=True):
        table.add_column(_text(name), justify="right" if align == "r" else "left", overflow="fold")
    for row in block.rows:
        table.add_row(*(_text(cell) for cell in row))
    return table


def _lines(block: Lines) -> RenderableType:
    text = Text()
    for number, line in enumerate(block.lines):
        style = _DIFF_STYLES.get(line[:1], "") if block.is_diff else ""
        text.append("\n" * bool(number)).append(visible(line).replace("\n", "\\x0a"), style)
    return text


def _case(block: Case) -> RenderableType:
    text = Text().append(f"{block.lift}", _STYLES[block.tone])
    text.append(visible(f"  {block.task}  {block.before.score} to {block.after.score}"))
    for name, side, other in (("was", block.before, block.after), ("now", block.after, block.before)):
        if side.feedback.strip():
            text.append(f"\n        {name}: {first_line(side.said_beside(other), 160)}", "dim")
    return text


_DRAW: dict[type[Block], Callable[[Any], RenderableType]] = {
    Heading: _heading, Say: _say, Grid: _grid, Lines: _lines, Case: _case,
}  # fmt: skip
