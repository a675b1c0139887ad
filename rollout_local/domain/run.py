"""RunConfig, the states of a run and of a trial, and the table of legal moves between states."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from rollout_local.domain.dataset import SPLITS, Columns, SplitName, Value

DEFAULT_REFLECTION_PARAMS: dict[str, object] = {"temperature": 1.0, "max_tokens": 32000}


def reflection_params(given: Mapping[str, object]) -> dict[str, object]:
    """The parameters of a reflection: those that are given, and the defaults that they do not replace."""
    defaults = dict(DEFAULT_REFLECTION_PARAMS)
    if "max_completion_tokens" in given:  # the other name of the same limit; models refuse both at once
        del defaults["max_tokens"]
    return {**defaults, **given}


class RunStatus(StrEnum):
    """Where a run stands."""

    CREATED = "created"
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    def is_terminal(self) -> bool:
        """Nothing goes on from here but a new attempt."""
        return self in {RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED}


MOVES: dict[RunStatus, frozenset[RunStatus]] = {
    RunStatus.CREATED: frozenset({RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.CANCELLED}),
    RunStatus.QUEUED: frozenset({RunStatus.RUNNING, RunStatus.CANCELLED}),
    RunStatus.RUNNING: frozenset(
        {RunStatus.PAUSED, RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.QUEUED}
    ),
    RunStatus.PAUSED: frozenset({RunStatus.RUNNING, RunStatus.QUEUED, RunStatus.CANCELLED}),
    RunStatus.COMPLETED: frozenset({RunStatus.QUEUED, RunStatus.RUNNING}),
    RunStatus.FAILED: frozenset({RunStatus.QUEUED, RunStatus.RUNNING}),
    RunStatus.CANCELLED: frozenset({RunStatus.QUEUED, RunStatus.RUNNING}),
}
"""Which status may follow which. From a terminal one, only a new attempt leads on."""


class Phase(StrEnum):
    """What a running run is doing."""

    BASELINE = "evaluating_baseline"
    SEARCH = "searching"
    BEST = "evaluating_best"
    FINALIZE = "finalizing"


class StopReason(StrEnum):
    """Why a search ended or a run waits; stands beside the status."""

    BUDGET_SPENT = "budget_spent"
    SCORE_REACHED = "score_reached"
    NO_IMPROVEMENT = "no_improvement"
    NO_PROPOSALS = "no_proposals"
    CONSTANT_SCORE = "constant_score"
    PLAN_DONE = "plan_done"
    TIME_LIMIT = "time_limit"
    COST_LIMIT = "cost_limit"
    CANCELLED = "cancelled"
    ERROR = "error"


class TrialOutcome(StrEnum):
    """How one execution ended. Only `scored` has a score."""

    SCORED = "scored"
    TIMEOUT = "timeout"
    PROVIDER_ERROR = "provider_error"
    VERIFIER_ERROR = "verifier_error"
    CANCELLED = "cancelled"


UNREADABLE = "unreadable"
"""The `error_kind` of a trial in which a program's predictor could not read the reply of its model."""
TARGET_FAILED = "target"
"""The `error_kind` of a trial whose target failed on its own account; it is scored 0, with the error as feedback."""


class CandidateStatus(StrEnum):
    """What became of a text. `proposed`: not judged when the budget ended."""

    BASELINE = "baseline"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    PROPOSED = "proposed"


class TrialKey(Value):
    """Names one trial of an attempt. `occurrence` is the ticket of GEPA's fetch, never an order of arrival."""

    attempt: int
    candidate: str
    task: str
    split: SplitName
    occurrence: int

    @property
    def scope(self) -> str:
        """The recording scope of this trial's model calls; free of the attempt, so that a replay finds them."""
        return f"trial/{self.candidate[7:23]}/{self.split}/{self.task}/{self.occurrence}"


LARGEST = 2**63 - 1
"""What an INTEGER column of SQLite holds."""


MOST_AT_ONCE = 1024
"""Trials at once: each is a thread, and with a time limit two."""
LONGEST_NAME = 200


def is_address(text: str) -> bool:
    """Whether a text is the URL of a server."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and text.isprintable()
    except ValueError:
        return False


def _address(text: str) -> str:
    if not is_address(text):
        msg = "must be a URL such as http://127.0.0.1:8000/v1"
        raise ValueError(msg)
    return text


Address = Annotated[str, AfterValidator(_address)]
"""The URL of a server."""


BUDGETS = ("auto", "max_metric_calls", "max_full_evals")
"""Settings of which a run has one at most; without any it has the `auto` of `DEFAULT_AUTO`."""
DEFAULT_AUTO = "light"


class RunConfig(Value):
    """Every flag of `optimize create`, as stored with the run. Unset means the documented default."""

    modules: tuple[str, ...] = ()
    target: str | None = None
    target_url: str | None = None
    target_headers: tuple[str, ...] = ()
    """`Name: value`, as given; a value that may be a secret is `$VARIABLE`."""
    target_bearer_env: str | None = None
    capability: str | None = None
    """`NAME@VERSION`, pinned when the run is created."""
    agent: str | None = None
    reward: str | None = None
    reward_params: dict[str, Any] = Field(default_factory=dict)
    allow_constant_reward: bool = False
    dataset: str | None = None
    columns: Columns | None = None
    """What becomes of the columns, where the dataset is a table."""
    val_dataset: str | None = None
    verifiers: tuple[str, ...] = ()
    splits_file: str | None = None
    max_tasks: int | None = Field(default=None, ge=1)
    reflection_model: str | None = None
    task_model: str | None = None
    reflection_api_base: Address | None = None
    task_api_base: Address | None = None
    reflection_params: dict[str, Any] = Field(default_factory=lambda: dict(DEFAULT_REFLECTION_PARAMS))
    task_params: dict[str, Any] = Field(default_factory=dict)
    auto: Literal["light", "medium", "heavy"] | None = None
    max_metric_calls: int | None = Field(default=None, ge=1, le=LARGEST)
    max_full_evals: int | None = Field(default=None, ge=1, le=1_000_000)
    max_cost: float | None = Field(default=None, gt=0)
    prices: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """USD per million input and output tokens, by model."""
    max_seconds: float | None = Field(default=None, gt=0)
    patience: float = Field(default=60.0, ge=0)
    """Seconds that a server which answered before, and is away now, is waited for."""
    reflection_timeout: float = Field(default=600.0, gt=0)
    """Seconds that one answer of the reflection model may take."""
    no_improvement: int | None = Field(default=None, ge=1)
    stop_at: float | None = Field(default=None, ge=0, le=1)
    min_holdout_improvement: float | None = Field(default=None, ge=0, le=1)
    confidence: float | None = Field(default=None, gt=0, lt=1)
    concurrency: int = Field(default=4, ge=1, le=MOST_AT_ONCE)
    seed: int = Field(default=0, ge=-LARGEST, le=LARGEST)
    optimizer: str = "gepa"
    strategy: str | None = None
    """The stages of BetterTogether, as in `bootstrap -> gepa`."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    allow_failing_baseline: bool = False
    allow_constant_score: bool = False
    objective: str | None = None
    project: str = "default"
    run_ref: str | None = None
    tags: tuple[str, ...] = ()
    name: str | None = Field(default=None, max_length=LONGEST_NAME)
    log_dir: str | None = None
    recording: str | None = None
    record_mode: Literal["new_episodes", "none", "once", "all"] = "new_episodes"
    ignore_fields: tuple[str, ...] = ()
    no_recording: bool = False
    keep_lookalikes: bool = False
    """Data of the run's own that looks like a key is none, and stays in the recording."""
    offline: bool = False
    allow_hosts: tuple[str, ...] = ()
    reuse: bool = False
    executor: Literal["threads"] = "threads"
    timeout: float | None = Field(default=None, gt=0)
    isolate: bool = False
    """Trials run in child processes."""
    simulated: bool = False
    """The models are a scripted simulator's; said wherever results are shown."""

    @model_validator(mode="after")
    def _one_budget(self) -> RunConfig:
        given = [name for name in BUDGETS if getattr(self, name) is not None]
        if len(given) > 1:
            flags = " and ".join("--" + name.replace("_", "-") for name in given)
            msg = f"{flags} are both given; a run has exactly one budget: keep one of them"
            raise ValueError(msg)
        return self


OPERATIONAL = frozenset(
    {
        "concurrency", "max_cost", "max_seconds", "patience", "reflection_timeout", "log_dir", "recording",
        "record_mode", "no_recording", "offline",
        "allow_hosts", "executor", "name", "tags", "run_ref", "project", "prices", "reflection_api_base",
        "task_api_base", "target_url", "target_headers", "target_bearer_env", "ignore_fields",
        "min_holdout_improvement", "confidence", "simulated", "allow_failing_baseline",
        "allow_constant_score", "isolate",
    }
)  # fmt: skip
"""Fields of `RunConfig` that do not decide the search: hosts, limits of time and cost, names, the gate."""

__all__ = [
    "BUDGETS", "DEFAULT_AUTO", "DEFAULT_REFLECTION_PARAMS", "MOVES", "OPERATIONAL", "SPLITS", "TARGET_FAILED",
    "UNREADABLE", "CandidateStatus", "Phase", "RunConfig", "RunStatus", "StopReason", "TrialKey", "TrialOutcome",
]  # fmt: skip
