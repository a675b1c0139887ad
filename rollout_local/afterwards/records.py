"""The candidates and trials of a run as small records, for Python: one read of the file, newest attempt alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TypeVar

from rollout_local.domain.dataset import SPLITS
from rollout_local.errors import InputError
from rollout_local.reports.evidence import texts_of
from rollout_local.store import reads
from rollout_local.store.row_types import RunRow
from rollout_local.store.schema import Store

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class CandidateSummary:
    """A text that was tried. Means are of scores in [0, 1], None where `n` trials are none; `components` by name."""

    number: int
    status: str
    text: str
    components: dict[str, str]
    train_mean: float | None
    train_n: int
    val_mean: float | None
    val_n: int
    holdout_mean: float | None
    holdout_n: int


@dataclass(frozen=True)
class TrialSummary:
    """One candidate on one task. `score` in [0, 1], None unless `outcome` is scored; `output` as the target gave it."""

    candidate: int
    task: str
    split: str
    occurrence: int
    outcome: str
    score: float | None
    feedback: str
    output: object
    error: str | None
    latency_ms: float | None
    cost_usd: float | None


Record = TypeVar("Record", CandidateSummary, TrialSummary)


class Records(list[Record]):
    """A list of records that pandas can read."""

    def to_pandas(self) -> pd.DataFrame:
        """A row for each record, a column for each field. Raises `InputError` where pandas is not installed."""
        try:
            import pandas as pd
        except ModuleNotFoundError:
            msg = "to_pandas() needs pandas, which is not installed: `pip install pandas`"
            raise InputError(msg) from None
        return pd.DataFrame([asdict(record) for record in self])


def candidates(store: Store, run: RunRow) -> Records[CandidateSummary]:
    """The candidates of the newest attempt in the order of proposal, the baseline first."""
    return Records(
        CandidateSummary(
            row["number"], row["status"], row["text"], texts_of(row), row["train_mean"], row["train_n"],
            row["val_mean"], row["val_n"], row["holdout_mean"], row["holdout_n"],
        )
        for row in reads.candidates(store, run["id"], run["attempt"])
    )  # fmt: skip


def trials(store: Store, run: RunRow) -> Records[TrialSummary]:
    """The final trials of the newest attempt by candidate, split and task."""
    found = Records(
        TrialSummary(
            row["candidate_number"], row["task_name"], row["split"], row["occurrence"], row["outcome"], row["score"],
            row["feedback"], json.loads(row["output"] or "null") if row["output_kind"] == "json" else row["output"],
            row["error"], row["latency_ms"], row["cost_usd"],
        )
        for row in reads.final_trials(store, run["id"], run["attempt"])
    )  # fmt: skip
    found.sort(key=lambda trial: (trial.candidate, _place(trial.split, SPLITS), trial.task, trial.occurrence))
    return found


def _place(split: str, splits: Sequence[str]) -> int:
    return splits.index(split) if split in splits else len(splits)
