"""The live page of a run, and what changed in it since the last look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

from markupsafe import Markup

from rollout_local.domain.dataset import SPLITS, SplitName
from rollout_local.domain.run import RunConfig, RunStatus
from rollout_local.reports.escape import one_line, visible
from rollout_local.reports.report import Report
from rollout_local.reports.standing import standing
from rollout_local.reports.wording import number
from rollout_local.store import catalog, reads
from rollout_local.store.schema import Store
from rollout_local.ui import actions, queries
from rollout_local.ui.draw.lines import best_so_far, slopes, train_and_val, trend
from rollout_local.ui.figures import Mean, lift, mean_of, means, steps, time_left
from rollout_local.ui.heartbeat import Heartbeat, heartbeat
from rollout_local.ui.shown_rows import FeedTrial, ShortCandidate
from rollout_local.ui.views.trials import question
from rollout_local.ui.visit import Document, Missing, Page, RunVisit, Visit, run_visit

TOP = 12


class Leader(ShortCandidate):
    """A candidate among the leaders."""

    means: dict[SplitName, Mean]
    lift: float | None
    is_best: bool
    href: str
    partial: int | None


class QuestionedTrial(FeedTrial):
    """A trial of the feed with what was asked as people read it."""

    question: str


class Chart(TypedDict):
    """Best so far against calls: the drawing, and the same as rows."""

    svg: Markup
    rows: list[dict[str, float | None]]


def show(visit: Visit) -> Page:
    """The page. `?show=` narrows the feed: all, errors, low, zero."""
    run = run_visit(visit)
    beat = heartbeat_of(run)
    chosen = visit.choice("show", queries.FILTERS, "all")
    feed = _with_questions(run.store, run.row["dataset_id"], queries.feed(run.store, run.id, run.attempt, chosen))
    before, after = means(run.store, run.baseline), means(run.store, run.best)
    return Page("run.html", {
        "title": run.row["name"] or run.row["target_id"], "run": run, "tab": "run", "heartbeat": beat,
        "steps": steps(run), "before": before, "after": after,
        "lift": lift(before["val"], after["val"]), "left": _left(run, beat), "report": newest_report(run),
        **actions.asked(run), **_evidence(run),
        "chart": _chart(run), "both": _train_and_val(run), "slopes": _slopes(before, after),
        "leaders": leaders(run)[:TOP], "total": len(run.candidates), "feed": feed, "show": chosen,
        "show_names": _SHOW, "newest": feed[0]["id"] if feed else 0, "set_up": _set_up(run),
        "data": visit.links.data(run.db, run.id, show=chosen if chosen != "all" else None),
    })  # fmt: skip


def _evidence(run: RunVisit) -> dict[str, object]:
    """The size of the frontier, what became of the proposals, and how each series went; none in an older file."""
    trends = {name: trend(reads.series(run.store, run.id, run.attempt, name), what) for name, what in _SERIES.items()}
    return {
        "trends": trends, "frontier": len(reads.frontier(run.store, run.id, run.attempt)),
        "proposals": queries.proposal_counts(run.store, run.id, run.attempt),
    }  # fmt: skip


_SERIES = {
    "calls": "Search calls", "frontier": "Candidates on the frontier", "accepted": "Accepted proposals",
    "rejected": "Rejected proposals",
}  # fmt: skip


_SHOW = {"all": "all", "errors": "errors", "low": "score below 0.5", "zero": "score 0"}


def changes(visit: Visit) -> Document:
    """JSON: trials since `?since=`, counters; only the time and the heartbeat while `?rev=` is still the revision."""
    row = queries.pulse(visit.store, visit.names["run"])
    if row is None:
        msg = f"There is no run {visit.names['run']!r}."
        raise Missing(msg)
    holder = queries.holder(visit.store, row["id"]) if row["status"] == RunStatus.RUNNING else None
    beat = heartbeat(row, holder, visit.now)
    found: dict[str, object] = {"now": visit.now, "rev": row["rev"], "heartbeat": vars(beat)}
    if visit.number("rev") == row["rev"]:
        return Document({**found, "unchanged": True})
    trials, skipped = queries.since(
        visit.store, row["id"], row["attempt"], visit.number("since") or 0, visit.choice("show", queries.FILTERS, "all")
    )
    asked = _with_questions(visit.store, row["dataset_id"], trials)
    recent = [trial["created_at"] for trial in queries.pace(visit.store, row["id"])] if beat.state != "stale" else []
    return Document({
        **found, **{name: _shown(value) for name, value in row.items() if name in _COUNTERS},
        "unchanged": False, "skipped": skipped,
        "left": time_left(row, 0, recent), "trials": [_trial(visit, trial) for trial in reversed(asked)],
    })  # fmt: skip


_COUNTERS = (
    "id", "status", "phase", "stop_reason", "attempt", "metric_calls", "metric_call_budget", "trial_count",
    "error_count", "cost_usd", "best_candidate_id", "last_event_at",
)  # fmt: skip


def _shown(value: object) -> object:
    return visible(value[:200]) if isinstance(value, str) else value


def _with_questions(store: Store, dataset_id: int, trials: Sequence[FeedTrial]) -> list[QuestionedTrial]:
    told = not (trials and queries.shares_instruction(store, dataset_id))
    return [{**row, "question": question(row["instruction"], row["input_json"], told=told)} for row in trials]


def _trial(visit: Visit, row: QuestionedTrial) -> dict[str, object]:
    """A trial for the feed, every text fit to be shown as text."""
    db = visit.source.name
    return {
        "id": row["id"], "candidate": row["candidate"], "task": one_line(row["task_name"], 60), "split": row["split"],
        "outcome": row["outcome"], "score": None if row["score"] is None else number(row["score"]),
        "question": one_line(row["question"][:800], 200), "said": one_line(row["error"] or row["feedback"], 160),
        "at": visible(row["created_at"]),
        "href": visit.links.trial(db, row["id"]), "trace": row["trace_id"] and visit.links.trace(db, row["trace_id"]),
        "candidate_href": visit.links.candidate(db, visit.names["run"], row["candidate"]),
    }  # fmt: skip


def heartbeat_of(run: RunVisit) -> Heartbeat:
    """How alive the run is."""
    holder = queries.holder(run.store, run.id) if run.row["status"] == RunStatus.RUNNING else None
    return heartbeat(run.row, holder, run.visit.now)


def newest_report(run: RunVisit) -> Report | None:
    """The promotion report of the attempt, or None."""
    return standing(run.store, run.id, run.attempt, RunConfig.model_validate(run.config))


def leaders(run: RunVisit) -> list[Leader]:
    """Candidates by validation mean, then by their best task; those still being scored, and never scored, last."""
    baseline = run.baseline
    whole = baseline["val_n"] if baseline else 0
    best = run.best

    def rank(row: ShortCandidate) -> tuple[bool, bool, float, float, float, int]:
        mean, train = row["val_mean"], row["train_mean"]
        partial = row["val_n"] < whole
        return mean is None, partial, -(mean or 0.0), -(row["val_best"] or 0.0), -(train or 0.0), row["number"]

    ranked = sorted(run.candidates, key=rank)
    return [_leader(run, row, whole, is_best=best is not None and row["id"] == best["id"]) for row in ranked]


def _leader(run: RunVisit, row: ShortCandidate, whole: int, *, is_best: bool) -> Leader:
    """A mean over part of the validation tasks is not compared with one over all of them."""
    found, partial = means(run.store, row), 0 < row["val_n"] < whole
    gained = None if partial else lift(mean_of(run.store, run.baseline, "val"), found["val"])
    return {
        **row, "means": found, "lift": gained, "is_best": is_best, "href": run.candidate_link(row["number"]),
        "partial": whole if partial else None,
    }  # fmt: skip


def _left(run: RunVisit, beat: Heartbeat) -> str:
    if beat.state not in {"live", "quiet"}:
        return ""
    recent = [trial["created_at"] for trial in queries.pace(run.store, run.id)]
    return time_left(run.row, len(run.split.get("holdout", ())), recent)


def _chart(run: RunVisit) -> Chart | None:
    """Best so far against calls, and the same as rows."""
    best = reads.series(run.store, run.id, run.attempt, "best_val")
    if not best:
        return None
    names: dict[float, int] = {}
    for candidate, value in reads.series(run.store, run.id, run.attempt, "val_mean"):
        names.setdefault(value, candidate)
    rows: list[dict[str, float | None]] = [
        {"calls": step, "mean": value, "candidate": names.get(value)} for step, value in best
    ]
    return {"svg": best_so_far(best, run.row["metric_call_budget"], run.spent, names), "rows": rows}


def _train_and_val(run: RunVisit) -> Markup | None:
    both = [row for row in run.candidates if row["val_mean"] is not None or row["train_mean"] is not None]
    return train_and_val(both) if len(both) > 1 else None


def _slopes(before: Mapping[SplitName, Mean], after: Mapping[SplitName, Mean]) -> Markup | None:
    shown = [
        (split, one, other)
        for split in before
        if (one := before[split].mean) is not None and (other := after[split].mean) is not None
    ]
    return slopes(shown) if shown and any(row[1] != row[2] for row in shown) else None


def _set_up(run: RunVisit) -> dict[str, object]:
    """What the run was made of, in words."""
    config, row = run.config, run.row
    specs = run.stored.verifiers(run.store)
    sizes = ", ".join(f"{len(run.split.get(name, ()))} {name}" for name in SPLITS)
    return {
        "target": row["target_id"], "dataset": f"{catalog.dataset_name(run.store, row['dataset_id'])} ({sizes})",
        "validation dataset": catalog.dataset_name(run.store, row["val_dataset_id"]),
        "objective": config.get("objective"), "tags": ", ".join(queries.tags_of(row)),
        "archived": row.get("archived_at"),
        "verifiers": ", ".join(spec.name or spec.id for spec in specs),
        "optimizer": f"{row['optimizer']}, seed {row['seed']}",
        "task model": config.get("task_model"), "reflection model": config.get("reflection_model"),
        "run": row["id"], "attempt": row["attempt"], "project": row["project"], "reference": row["run_ref"],
        "created": row["created_at"], "started": row["started_at"], "finished": row["finished_at"],
        "recording": row["recording"], "fingerprint": row["fingerprint"],
    }  # fmt: skip
