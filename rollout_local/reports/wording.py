"""Numbers as people read them, the same in every report: three decimals for scores, a sign for differences."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal

_LONG_NUMBER = re.compile(r"(?<![\w.])-?\d+\.\d{4,}(?![\w.]\d)")


def number(value: float | None) -> str:
    """`0.417`; a dash where there is none; what would round to nothing is said to be below 0.001."""
    if value is None:
        return "–"
    return "<0.001" if 0 < value < 0.0005 else f"{_thousandths(value):.3f}"


def signed(value: float | None) -> str:
    """`+0.417`, `-0.050`, `0.000`; a dash where there is none."""
    if value is None:
        return "–"
    return f"{_thousandths(value):+.3f}" if abs(value) >= 0.0005 else "0.000"


def _thousandths(value: float) -> Decimal:
    """Rounded half up, so that a value and what a report keeps of it (12 decimals) are written alike."""
    return Decimal(f"{value:.12f}").quantize(Decimal("0.001"), ROUND_HALF_UP)


def rounded_numbers(text: str) -> str:
    """A text of another program with its numbers rounded: `2.3666666666666667` is `2.367`."""
    return _LONG_NUMBER.sub(lambda found: f"{float(found.group()):.3f}", text)


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
