"""What a bar says beside its phase."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rollout_local.runs.progress import Progress


def scores(progress: Progress) -> str:
    """Baseline and best on val, the money spent, trials without a score: those that there are."""
    parts = []
    if progress.best is not None and progress.baseline is not None:
        parts.append(f"val {progress.baseline:.3f} → {progress.best:.3f}")
    if progress.cost_usd:
        parts.append(f"${progress.cost_usd:.4f}")
    if progress.errors:
        parts.append(f"{progress.errors} without a score")
    return " · ".join(parts)


def phase(progress: Progress) -> str:
    """The phase in words, and what takes its time in it."""
    return " · ".join(filter(None, [progress.phase.replace("_", " "), progress.doing]))
