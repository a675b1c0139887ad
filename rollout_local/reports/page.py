"""Blocks as one HTML page that fetches nothing: no script, no image, no font, and a policy that forbids them.

Every text is made visible and escaped here, where it enters the page, and nowhere else.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import Any

from rollout_local.reports.blocks import Block, Case, Grid, Heading, Lines, Say, Side
from rollout_local.reports.escape import visible

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --paper: #fff; --line: #d5d8dd; --soft: #f4f5f7; --dim: #5b6169;
  --good: #17663a; --bad: #a3211a; --note: #7a5200; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e7e9; --paper: #15171a; --line: #3a3e45; --soft: #1f2226;
  --dim: #a0a6ae; --good: #6fd394; --bad: #ff9088; --note: #f0c060; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 62rem; color: var(--ink); background: var(--paper);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; margin: .5rem 0; display: block; overflow-x: auto; }
th, td { padding: .3rem .8rem .3rem 0; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top; }
.r { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.good, ins { color: var(--good); } .bad, del { color: var(--bad); } .note { color: var(--note); }
.good, .bad, .note { font-weight: 600; } ins, del { text-decoration: none; }
i { color: var(--dim); font-style: normal; }
pre { background: var(--soft); padding: .6rem .8rem; margin: .4rem 0; white-space: pre-wrap; unicode-bidi: plaintext;
  font: .85rem/1.45 ui-monospace, monospace; }
details { border-bottom: 1px solid var(--line); padding: .4rem 0; } summary { cursor: pointer; }
.sides { display: grid; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); gap: 0 1rem; }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def draw(blocks: Sequence[Block], title: str) -> str:
    """The blocks as one HTML document."""
    body = "\n".join(_DRAW[type(block)](block) for block in blocks)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escaped(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def escaped(text: str) -> str:
    """`text` with nothing in it that HTML would read, fit for an element or a quoted attribute."""
    return html.escape(visible(text), quote=True)


def _heading(block: Heading) -> str:
    return f"<h{block.level}>{escaped(block.text)}</h{block.level}>"


def _say(block: Say) -> str:
    return f'<p class="{block.tone}">{escaped(block.text)}</p>'


def _grid(block: Grid) -> str:
    head = _row(block.columns, block.align, "th scope=col")
    rows = "\n".join(_row(row, block.align, "td") for row in block.rows)
    return f"<table>\n<thead>\n{head}\n</thead>\n<tbody>\n{rows}\n</tbody>\n</table>"


def _row(cells: Sequence[str], align: str, tag: str) -> str:
    end = tag.split(" ", maxsplit=1)[0]
    drawn = (f"<{tag} class={a}>{escaped(cell)}</{end}>" for cell, a in zip(cells, align, strict=True))
    return f"<tr>{''.join(drawn)}</tr>"


def _lines(block: Lines) -> str:
    return f"<pre>{chr(10).join(_line(line, is_diff=block.is_diff) for line in block.lines)}</pre>"


def _line(line: str, *, is_diff: bool) -> str:
    tag = {"+": "ins", "-": "del", "@": "i"}.get(line[:1]) if is_diff else None
    return f"<{tag}>{escaped(line)}</{tag}>" if tag else escaped(line)


def _case(block: Case) -> str:
    title = f'<span class="{block.tone}">{escaped(block.lift)}</span> {escaped(block.task)}'
    scores = f"<i>{escaped(block.before.score)} to {escaped(block.after.score)}</i>"
    sides = _side(block.before) + _side(block.after)
    return f'<details><summary>{title} {scores}</summary>\n<div class="sides">{sides}</div></details>'


def _side(side: Side) -> str:
    head = f"<strong>{escaped(side.label)}</strong> {escaped(side.score)}"
    return f"<div>{head}<pre>{escaped(side.output)}</pre><pre>{escaped(side.feedback)}</pre></div>"


_DRAW: dict[type[Block], Callable[[Any], str]] = {
    Heading: _heading, Say: _say, Grid: _grid, Lines: _lines, Case: _case,
}  # fmt: skip
