"""How a run stands, for Python and notebooks: what `rollout.run` returns and `rollout.load` reads from a file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rollout_local.afterwards import records, result_html
from rollout_local.afterwards.records import CandidateSummary, Records, TrialSummary
from rollout_local.domain.run import RunStatus
from rollout_local.domain.target import Candidate
from rollout_local.errors import InputError
from rollout_local.reports import promotion
from rollout_local.reports.escape import one_line
from rollout_local.reports.evidence import texts_of
from rollout_local.reports.report import Report
from rollout_local.reports.standing import standing
from rollout_local.reports.wording import words
from rollout_local.store import reads
from rollout_local.store.row_types import RunRow
from rollout_local.store.schema import Store, open_store
from rollout_local.store.stored_run import StoredRun


@dataclass(frozen=True)
class Conclusion:
    """What the report concludes: `promote`, `undecided` or `do not promote`, and the sentence that says why."""

    word: str
    sentence: str

    def __str__(self) -> str:
        return self.sentence


@dataclass(frozen=True, repr=False)
class RunResult:
    """How a run stands. `best` is None where it has not come to one, `report` where nothing was evaluated.

    `candidates` and `trials` are read from `db` when they are first asked for.
    """

    run_id: str
    status: RunStatus
    stop_reason: str | None
    message: str
    best: Candidate | None
    report: Report | None
    db: Path

    @property
    def text(self) -> str | None:
        """The best text; of a target of several, all of them, each under its name. None where there is none."""
        if self.best is None:
            return None
        texts = self.best.components
        return self.best.text if len(texts) == 1 else "\n\n".join(f"# {name}\n{text}" for name, text in texts.items())

    @property
    def lift(self) -> float | None:
        """How much the best lifts the holdout mean over the baseline, in [-1, 1]; None where that is not known."""
        return None if self.report is None else self.report["holdout"]["lift"]

    @property
    def verdict(self) -> Conclusion | None:
        """What the report concludes; None where there is no report."""
        if self.report is None:
            return None
        found = self.report["verdict"]
        return Conclusion(words(found["outcome"]), found["sentence"])

    @cached_property
    def candidates(self) -> Records[CandidateSummary]:
        """Every candidate of the newest attempt, the baseline first. Raises `StoreError` where the file is gone."""
        with _opened(self.db) as store:
            return records.candidates(store, reads.run(store, self.run_id))

    @cached_property
    def trials(self) -> Records[TrialSummary]:
        """Every final trial of the newest attempt. Raises `StoreError` where the file is gone."""
        with _opened(self.db) as store:
            return records.trials(store, reads.run(store, self.run_id))

    def __repr__(self) -> str:
        is_done = self.status is RunStatus.COMPLETED and self.verdict is not None
        says = str(self.verdict) if is_done else self.message
        return f"RunResult({self.run_id}, {self.status}{': ' if says else ''}{one_line(says, 160)})"

    def _repr_html_(self) -> str:
        return result_html.draw(self.run_id, self.status, self.message, self.report)


def load(run: str, *, db: str | Path = "rollout.db") -> RunResult:
    """How any run of a file stands, running or ended, as `rollout.run` returns it. Writes nothing.

    `run` is an id, a unique prefix of one, a name, or `latest`. Raises `NotFound` for a run that is not there, and
    `StoreError` where there is no such file.
    """
    with _opened(Path(db)) as store:
        return result_of(store, reads.run(store, run))


def report(run: str, *, db: str | Path = "rollout.db") -> Report:
    """The promotion report of a run as a dict; of one that has not ended, of what it has so far. Writes nothing.

    Its keys are those of `rollout optimize report --json`. Raises `NotFound` as `load` does, and `InputError` where
    nothing was evaluated yet.
    """
    with _opened(Path(db)) as store:
        return _report(store, reads.run(store, run))


def result_of(store: Store, run: RunRow) -> RunResult:
    """How a run stands, by its row."""
    best = None
    if run["best_candidate_id"] is not None:
        best = Candidate(components=texts_of(reads.candidate(store, run["best_candidate_id"])))
    try:
        found = _report(store, run)
    except InputError:
        found = None
    status, message = RunStatus(run["status"]), run["message"] or ""
    return RunResult(run["id"], status, run["stop_reason"], message, best, found, store.path)


def _report(store: Store, run: RunRow) -> Report:
    return standing(store, run["id"], run["attempt"], StoredRun(run).config) or promotion.build(store, run)


def _opened(path: Path) -> Store:
    return open_store(path, create=False, reads=True)
