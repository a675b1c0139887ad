"""A run's result where a notebook shows it: the verdict, baseline against best by split, what changed in the prompt.

One piece of HTML without a script, a style sheet or an address. Inks are the page's own (`currentColor`) and tints that
can be read on light and dark; whatever a model or a user wrote is escaped where it enters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rollout_local.domain.dataset import SPLITS
from rollout_local.reports.blocks import diff
from rollout_local.reports.page import escaped
from rollout_local.reports.report import ComparedMeans, Report
from rollout_local.reports.wording import number, signed

MOST_LINES = 200
"""Lines of a diff that are shown; the report has all of them."""

_GREEN, _RED = "rgba(46,160,67,.25)", "rgba(248,81,73,.25)"
_BEST = "#2e9a50"
_ROW, _BAR, _LEFT, _WIDTH = 40, 12, 70, 420


def draw(run_id: str, status: str, message: str, report: Report | None) -> str:
    """The result as HTML."""
    parts = [
        f"<p>Run <code>{escaped(run_id)}</code>: {escaped(status)}.{' ' + escaped(message) if message else ''}</p>"
    ]
    if report is not None:
        verdict = report["verdict"]
        parts.insert(
            0, f"<p><strong>{escaped(verdict['sentence'])}</strong><br>{escaped(verdict['luck_sentence'])}</p>"
        )
        parts += [_chart(report), _prompt(report)]
    return f'<div style="font:14px/1.5 system-ui,sans-serif;max-width:60rem">{"".join(parts)}</div>'


def _chart(report: Report) -> str:
    found = [(split, report["overfitting"][split]) for split in SPLITS if report["overfitting"][split]["n"]]
    if not found:
        return ""
    said = "; ".join(f"{split} {number(both['baseline'])} to {number(both['best'])}" for split, both in found)
    rows = "".join(_row(place, split, both) for place, (split, both) in enumerate(found))
    return (
        f'<svg role="img" aria-label="Mean score, baseline to best: {escaped(said)}" viewBox="0 0 {_WIDTH + 220} '
        f'{_ROW * len(found)}" width="{_WIDTH + 220}" height="{_ROW * len(found)}" style="max-width:100%" '
        f'font-size="12" fill="currentColor">{rows}</svg>'
    )


def _row(place: int, split: str, both: ComparedMeans) -> str:
    top, scale = place * _ROW, _WIDTH - _LEFT
    before, after = both["baseline"] or 0.0, both["best"] or 0.0
    lift = f"{number(both['baseline'])} → {number(both['best'])} ({signed(both['lift'])}, n {both['n']})"
    return (
        f'<text x="{_LEFT - 8}" y="{top + 20}" text-anchor="end">{split}</text>'
        f'<rect x="{_LEFT}" y="{top + 4}" width="{before * scale:.1f}" height="{_BAR}" fill-opacity=".4"/>'
        f'<rect x="{_LEFT}" y="{top + 5 + _BAR}" width="{after * scale:.1f}" height="{_BAR}" fill="{_BEST}"/>'
        f'<text x="{_WIDTH + 8}" y="{top + 20}">{escaped(lift)}</text>'
    )


def _prompt(report: Report) -> str:
    if not report["changed"]:
        return "<p>The prompt is unchanged.</p>"
    name = f"candidate {report['best']['number']}"
    lines = diff(report["baseline"]["components"], report["best"]["components"], ("baseline", name)).lines
    return (
        f"<details open><summary>What changed in the prompt, baseline to {name}</summary>"
        f'<pre style="white-space:pre-wrap;overflow-wrap:anywhere">{"".join(_lines(lines))}</pre></details>'
    )


def _lines(lines: Sequence[str]) -> Iterator[str]:
    tints = {"+": ("ins", _GREEN), "-": ("del", _RED)}
    for line in lines[:MOST_LINES]:
        tag, tint = tints.get(line[:1], ("", ""))
        shown = escaped(line)
        yield f'<{tag} style="background:{tint};text-decoration:none">{shown}</{tag}>\n' if tag else f"{shown}\n"
    if len(lines) > MOST_LINES:
        yield f"… and {len(lines) - MOST_LINES} more lines; rollout.report(run) has both texts whole"
