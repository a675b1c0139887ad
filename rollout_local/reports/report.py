"""The type of a promotion report, shared by all who make, draw, judge or store one. `promotion` says what it means.

A report is a plain dict, since its JSON is public: keys and their order are those that `promotion` writes. What a key
of this type lacks, an older report may lack, too.
"""

from __future__ import annotations

import json
from typing import Any, Literal, NotRequired, TypedDict

from rollout_local.domain.dataset import SplitName


class TargetName(TypedDict):
    """The target of the run."""

    id: str
    kind: str


class ReportHead(TypedDict):
    """Of which run a report is."""

    format: NotRequired[int]
    run_id: str
    attempt: int
    target: TargetName
    status: str
    stop_reason: str | None
    simulated: NotRequired[bool]
    provisional: NotRequired[bool]


class ScoreSummary(TypedDict):
    """Scores of a candidate on a split: mean, how many, standard deviation."""

    mean: float | None
    n: int
    sd: float | None


class CandidateReport(TypedDict):
    """One of the two candidates compared."""

    number: int
    text: str
    components: dict[str, str]
    train: ScoreSummary
    val: ScoreSummary
    holdout: ScoreSummary


class TaskSide(TypedDict):
    """What one text gave for a task."""

    score: float
    output: str | None
    feedback: str


class Movement(TypedDict):
    """A holdout task that improved or regressed."""

    task: str
    instruction: str
    input: dict[str, Any]
    lift: float
    baseline: TaskSide
    best: TaskSide


class CheckMeans(TypedDict):
    """A verifier's check over the holdout tasks of both."""

    id: str
    n: int
    before: float
    after: float
    lift: float


class ComparedMeans(TypedDict):
    """Means of both over the tasks of both on a split."""

    baseline: float | None
    best: float | None
    lift: float | None
    n: int


class FirstFailure(TypedDict):
    """The first trial in which the target itself failed."""

    candidate: int
    split: str
    task: str
    error: str


class TargetFailures(TypedDict):
    """How many trials the target itself failed in."""

    trials: int
    of: int
    first: FirstFailure


class PhaseCount(TypedDict):
    """Executions of a phase."""

    asked: int
    spent: int
    errors: int


class BudgetCount(TypedDict):
    """Calls of the search."""

    asked: int
    spent: int


class Scores(TypedDict):
    """What both candidates reached."""

    baseline: CandidateReport
    best: CandidateReport
    changed: bool
    improved: list[Movement]
    regressed: list[Movement]
    checks: list[CheckMeans]
    overfitting: dict[SplitName, ComparedMeans]
    unscored: dict[str, dict[str, int]]
    target_failures: NotRequired[TargetFailures]


class Spent(TypedDict):
    """What the scores took."""

    calls: dict[str, PhaseCount]
    budget: BudgetCount


class HoldoutLift(TypedDict):
    """The paired comparison on the holdout, and how sure it is."""

    n: int
    lift: float | None
    sd: float | None
    interval: tuple[float, float] | None
    sign_test_p: float | None
    permutation_p: float | None
    wins: int
    losses: int
    ties: int
    smallest_detectable_lift: float | None
    standard_error: float | None
    confidence: float


class GateReport(TypedDict):
    """One thing asked of a promotion."""

    name: str
    asked: bool | float
    seen: bool | float | None
    met: bool
    sentence: str


VerdictOutcome = Literal["promote", "undecided", "do_not_promote"]
"""`undecided` is a lift that was seen, but whose interval reaches zero."""


class ReportVerdict(TypedDict):
    """Whether to promote, and whether the lift may be luck. `more_tasks` would decide what is undecided."""

    outcome: VerdictOutcome
    more_tasks: int | None
    promote: bool
    sentence: str
    may_be_luck: bool
    luck_sentence: str


class Decision(TypedDict):
    """What the scores say."""

    degraded: bool
    degraded_why: str
    holdout: HoldoutLift
    gates: list[GateReport]
    verdict: ReportVerdict


class PromptLength(TypedDict):
    """Characters of both texts."""

    before: int
    after: int


class CopiedRun(TypedDict):
    """A run of words that stands in the prompt and in a task."""

    task: str
    words: int
    text: str


class Overlap(TypedDict):
    """How much of a prompt stands in its training tasks."""

    longest_ngram: int
    copied_fraction: float
    examples: list[CopiedRun]


class BothOverlaps(Overlap):
    """The same of the best prompt, with that of the baseline in it."""

    in_baseline: Overlap


class Texts(TypedDict):
    """What the texts are like."""

    prompt_length: PromptLength
    overlap: BothOverlaps


class ReportCost(TypedDict):
    """What the run cost, and a task with either text."""

    total_usd: float | None
    per_task_before: float | None
    per_task_after: float | None


class Latency(TypedDict):
    """Median milliseconds of a task with either text."""

    before: float | None
    after: float | None


class ReportVolatile(TypedDict):
    """What another run of the same search would measure differently."""

    cost: ReportCost
    latency_ms: Latency
    created_at: str
    started_at: str | None
    finished_at: str | None
    bypassed: NotRequired[list[str]]


class Repeats(TypedDict):
    """Executions of a text on a task that it was executed on before, and those that gave another output."""

    again: int
    other_output: int


class Rescored(TypedDict):
    """What a rescored report was made with."""

    run_id: str
    verifiers: list[str]
    splits_file: str | None


class Report(ReportHead, Scores, Spent, Decision, Texts):
    """The whole report."""

    doubts: NotRequired[list[str]]
    repeats: NotRequired[Repeats]
    volatile: NotRequired[ReportVolatile]
    rescored_from: NotRequired[Rescored]


def parse(text: str) -> Report:
    """A stored report."""
    found: Report = json.loads(text)
    return found
