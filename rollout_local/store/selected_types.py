"""The rows of selects that give other columns than a table's or view's own, as types."""

from __future__ import annotations

from typing import TypedDict

from rollout_local.store.catalog_rows import DatasetRow, VerifierRow
from rollout_local.store.row_types import ProposalRow, ShortRun, TrialRow


class ListedRun(ShortRun):
    """The same with the scores of its baseline and its best."""

    baseline_val: float | None
    best_val: float | None
    baseline_holdout: float | None
    best_holdout: float | None
    best_number: int | None
    verdict: str | None
    note: str | None
    archived_at: str | None


class ConcludedVerdict(TypedDict):
    """What a run's report concludes."""

    verdict: str | None


class CandidateId(TypedDict):
    """A candidate by its row."""

    id: int


class BestOfRun(TypedDict):
    """The part of a run's row that says what is best in it."""

    id: str
    attempt: int
    baseline_candidate_id: int | None
    best_candidate_id: int | None


class RunId(TypedDict):
    """A run by its id."""

    id: str


class RunInLogDir(TypedDict):
    """A run and the folder that it is kept in."""

    id: str
    status: str
    attempt: int
    log_dir: str


class Edge(TypedDict):
    """An edge of the lineage, as candidate numbers."""

    child: int
    parent: int


class JudgedProposal(ProposalRow):
    """A proposal with the numbers of its parent and its candidate."""

    candidate_number: int | None
    parent_number: int | None


class NumberedTrial(TrialRow):
    """A trial with its candidate's number."""

    candidate_number: int


class Wins(TypedDict):
    """On how many tasks a candidate is best."""

    number: int
    wins: int


class TaskOutput(TypedDict):
    """One of a task's scored outputs."""

    id: int
    score: float
    output: str | None
    output_kind: str
    feedback: str
    split: str
    candidate: int


class Point(TypedDict):
    """A point of a series."""

    step: int
    value: float


class ReportText(TypedDict):
    """A report as JSON."""

    report_json: str


class Said(TypedDict):
    """A line of a log."""

    message: str


class AnswerText(TypedDict):
    """A program's answer as JSON."""

    answer_json: str


class ReplyText(TypedDict):
    """A reflection's reply as JSON."""

    reply_json: str


class SplitText(TypedDict):
    """Where a run placed its tasks, as JSON."""

    split_json: str


class HighestStep(TypedDict):
    """The highest step of an attempt; None where it has none."""

    step: int | None


class ChainEnd(TypedDict):
    """The last entry of a chain."""

    seq: int
    chain: str


class ChainLink(TypedDict):
    """The chain after an entry."""

    chain: str


class Sequenced(TypedDict):
    """The number of an entry."""

    seq: int


class ContentHash(TypedDict):
    """What a content is named by."""

    content_hash: str


class Count(TypedDict):
    """How many there are."""

    n: int


class IntegrityProblem(TypedDict):
    """What SQLite says of the file: `ok`, or what is wrong."""

    integrity_check: str


class QuickProblem(TypedDict):
    """The same of the short check."""

    quick_check: str


class LooseReference(TypedDict):
    """A row that refers to one which is not there."""

    table: str
    rowid: int | None
    parent: str
    fkid: int


class CountedMeans(TypedDict):
    """A candidate's means on a split: as the trials say, and as they are kept."""

    id: int
    run_id: str
    split: str
    n: int
    total: float
    mean: float | None
    best: float | None
    what: str
    kept_n: int
    kept_sum: float
    kept_mean: float | None
    kept_best: float | None


class CountedTask(TypedDict):
    """A candidate's task whose roll-up is wrong."""

    run_id: str
    candidate_id: int


class CountedPhase(TypedDict):
    """A phase whose counts are wrong."""

    run_id: str
    phase: str


class CountedRun(TypedDict):
    """A run whose counts are wrong: as they are kept, and as the trials say."""

    run_id: str
    trial_count: int
    error_count: int
    metric_calls: int
    trials: int
    errors: int
    calls: int


class Token(TypedDict):
    """The token of a lease."""

    token: int


class HeldColumns(TypedDict):
    """Who holds a run, and its beats: the columns `lease.HELD`. Nothing but the token counts where `pid` is None."""

    token: int
    pid: int | None
    host: str
    boot: str
    process: str
    beats: int
    beat_s: float


class LeftBehind(HeldColumns):
    """A running run of a worker, with who holds it."""

    id: str
    restarts: int


class AddedDataset(DatasetRow):
    """A dataset's row, and whether it was not there before."""

    is_new: bool


class AddedVerifier(VerifierRow):
    """A verifier's row, and whether it was not there before."""

    is_new: bool


class CallableTarget(TypedDict):
    """A target that a worker can call, and when it was used last."""

    row_id: int
    id: str
    used_at: str


class ListedVersion(TypedDict):
    """A version of a capability without its files."""

    id: int
    name: str
    version: str
    description: str
    content_hash: str
    manifest_json: str
    agents_json: str
    promoted_from_run: str | None
    created_at: str


class PendingPromotion(TypedDict):
    """A promotion whose file may not have taken its place yet."""

    id: int
    to_path: str | None
    text: str
    pending: str


class DatasetVersion(TypedDict):
    """A dataset by name and version."""

    slug: str
    version: int


class DatasetChoice(DatasetVersion):
    """The newest version of a dataset."""

    id: int
    task_count: int


class VerifierChoice(TypedDict):
    """The newest verifier of an id."""

    id: int
    name: str
    spec_json: str


class TraceOwner(TypedDict):
    """What a trace belongs to."""

    id: str
    run_id: str | None
    trial_id: int | None
