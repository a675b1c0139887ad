"""Numbers as people read them, the same in every report: three decimals for scores, a sign for differences."""

from __future__ import annotations

from collections.abc import Sequence


def number(value: float | None) -> str:
    """`0.417`; a dash where there is none; what would round to nothing is said to be below 0.001."""
    if value is None:
        return "–"
    return "<0.001" if 0 < value < 0.0005 else f"{value:.3f}"


def signed(value: float | None) -> str:
    """`+0.417`, `-0.050`, `0.000`; a dash where there is none."""
    if value is None:
        return "–"
    return f"{value:+.3f}" if abs(value) >= 0.0005 else "0.000"


def spread(interval: Sequence[float] | None) -> str:
    """`+0.102 to +0.417`; a dash where there is none."""
    return "–" if interval is None else f"{signed(interval[0])} to {signed(interval[1])}"


def percent(share: float) -> str:
    """`95 %`, `99.5 %`."""
    return f"{100 * share:.4g} %"


def tasks_counted(n: int) -> str:
    """`1 task`, `24 tasks`."""
    return f"{n} task{'' if n == 1 else 's'}"


def money(usd: float | None) -> str:
    """`$0.0123`; `unknown` where there is none."""
    return "unknown" if usd is None else f"${usd:.4f}"


def words(name: str) -> str:
    """A key as words: `evaluating_best` is `evaluating best`."""
    return name.replace("_", " ")
