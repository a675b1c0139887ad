"""The promotion report: the best candidate against the baseline, on a holdout that the search never saw.

A plain JSON-able dict (`report.Report`), a pure function of stored rows. Every score is in [0, 1] and every mean is
one over single trials, so no two numbers in it have different units. Whatever another run of the same search would
measure differently (cost, latency, times) stands under `volatile` alone. The keys:

    format                          `FORMAT`: which version of this page reckoned it; reports without one are older
    run_id, attempt, target {id, kind}, status, stop_reason, simulated (where the run's config says), provisional (true
                                    where the run has not ended: `best` is what leads on validation)
    degraded, degraded_why          train or holdout trials ended without a score, and how many of which
    baseline, best                  {number, text, components, train, val, holdout: {mean, n, sd}}
    changed                         the best text is not the baseline's
    holdout                         {n, lift, sd, standard_error, interval [low, high], confidence, sign_test_p,
                                    permutation_p, wins, losses, ties, smallest_detectable_lift}, paired by task
    improved, regressed             [{task, instruction, input, lift, baseline, best: {score, output, feedback}}]
    checks                          [{id, n, before, after, lift}] of the verifiers, over the holdout tasks of both
    overfitting                     {train, val, holdout: {baseline, best, lift, n}}, over the tasks of both
    unscored                        {split: {outcome: trials}}
    target_failures                 {trials, of, first: {candidate, split, task, error}}, only where there are any
    calls                           {phase: {asked, spent, errors}}
    budget                          {asked, spent}
    prompt_length                   {before, after} in characters
    doubts                          [sentence]: what makes the verdict less worth than it looks, see `doubts`
    repeats                         {again, other_output}: executions of a text on a task that it was executed on before
    overlap                         {longest_ngram, copied_fraction, examples, in_baseline: {…}}, see `overlap`
    gates                           [{name, asked, seen, met, sentence}]
    verdict                         {outcome (promote, undecided, do_not_promote), more_tasks (that would decide it),
                                    promote, sentence, may_be_luck, luck_sentence}
    volatile                        {cost {total_usd, per_task_before, per_task_after}, latency_ms {before, after},
                                    created_at, started_at, finished_at, bypassed [sentence] only where there are any}
"""

from __future__ import annotations

import statistics as python_statistics
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar, cast

from rollout_local.domain.dataset import SPLITS, SplitName
from rollout_local.domain.run import Phase, RunStatus
from rollout_local.reports import doubts, failures, pairing, steadiness
from rollout_local.reports.evidence import Evidence, gather, is_finalizing, texts_of
from rollout_local.reports.gates import DEFAULT_CONFIDENCE, judge
from rollout_local.reports.overlap import overlap
from rollout_local.reports.report import (
    CandidateReport,
    ComparedMeans,
    Decision,
    PhaseCount,
    Report,
    ReportHead,
    ReportVerdict,
    ReportVolatile,
    Scores,
    ScoreSummary,
    Spent,
    Texts,
)
from rollout_local.reports.statistics import mean, paired, standard_deviation, standard_error
from rollout_local.reports.wording import signed, words
from rollout_local.store.row_types import CandidateRow, PhaseCallsRow, RunRow, TrialRow
from rollout_local.store.schema import Store

Document = TypeVar("Document")

FORMAT = 3
"""Counts what a report says and how it is reckoned: two of one format over the same rows are the same."""


def build(store: Store, run: RunRow) -> Report:
    """The report of the newest attempt of `run`, a row of `reads.run()`.

    Raises `InputError` where nothing has been evaluated yet.
    """
    return assemble(gather(store, run))


def assemble(evidence: Evidence) -> Report:
    """The report that this evidence gives; floats carry 12 significant digits."""
    found = {
        **_head(evidence),
        **_scores(evidence),
        **_spent(evidence),
        **_decision(evidence),
        **_texts(evidence),
        "doubts": doubts.of_run(evidence),
        "repeats": steadiness.repeats_of(evidence.trials),
    }
    report = cast("Report", rounded(found))
    report["volatile"] = _volatile(evidence)
    return report


def rounded(value: Document) -> Document:
    """`value` with every float cut to 12 significant digits, at any depth; a tuple becomes a list, as in JSON."""
    return cast("Document", _rounded(value))


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.12g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value


def _head(evidence: Evidence) -> ReportHead:
    run = evidence.run
    head: ReportHead = {
        "format": FORMAT,
        "run_id": run["id"],
        "attempt": run["attempt"],
        "target": {"id": evidence.target["id"], "kind": evidence.target["kind"]},
        "status": _status(run),
        "stop_reason": run["stop_reason"],
    }
    if evidence.is_provisional:
        head["provisional"] = True
    if "simulated" in evidence.config:
        head["simulated"] = bool(evidence.config["simulated"])
    return head


def _status(run: RunRow) -> str:
    """A run that writes its report is completed by it."""
    return str(RunStatus.COMPLETED if is_finalizing(run) else run["status"])


def _scores(evidence: Evidence) -> Scores:
    improved, regressed = pairing.movements(evidence)
    found: Scores = {
        "baseline": _candidate(evidence, evidence.baseline),
        "best": _candidate(evidence, evidence.best),
        "changed": evidence.changed,
        "improved": improved,
        "regressed": regressed,
        "checks": pairing.checks(evidence),
        "overfitting": {split: _both(evidence, split) for split in SPLITS},
        "unscored": unscored(evidence.trials),
    }
    failed = failures.of_trials(evidence.trials)
    if failed:
        found["target_failures"] = failed
    return found


def _spent(evidence: Evidence) -> Spent:
    return {
        "calls": {str(phase): _counts(evidence.calls[phase]) for phase in Phase if phase in evidence.calls},
        "budget": {"asked": evidence.run["metric_call_budget"], "spent": evidence.run["metric_calls"]},
    }


def _candidate(evidence: Evidence, candidate: CandidateRow) -> CandidateReport:
    train, val, holdout = (_summary(evidence.scores(candidate, split)) for split in SPLITS)
    return {
        "number": candidate["number"],
        "text": candidate["text"],
        "components": texts_of(candidate),
        "train": train,
        "val": val,
        "holdout": holdout,
    }


def _summary(scores: Sequence[float]) -> ScoreSummary:
    return {"mean": mean(scores), "n": len(scores), "sd": standard_deviation(scores)}


def _both(evidence: Evidence, split: SplitName) -> ComparedMeans:
    pairs = pairing.pairs(evidence, split)
    before, after = mean([pair.before for pair in pairs]), mean([pair.after for pair in pairs])
    lift = mean([pair.lift for pair in pairs])
    return {"baseline": before, "best": after, "lift": lift, "n": len(pairs)}


def unscored(trials: Sequence[TrialRow]) -> dict[str, dict[str, int]]:
    """How many final trials have no score, by split and outcome; splits without any are left out."""
    found: dict[str, dict[str, int]] = {}
    for split in SPLITS:
        counts = Counter(trial["outcome"] for trial in trials if trial["split"] == split and trial["score"] is None)
        if counts:
            found[split] = dict(sorted(counts.items()))
    return found


def _counts(row: PhaseCallsRow) -> PhaseCount:
    return {"asked": row["asked"], "spent": row["spent"], "errors": row["errors"]}


def _decision(evidence: Evidence) -> Decision:
    confidence = evidence.confidence or DEFAULT_CONFIDENCE
    differences = [pair.lift for pair in pairing.pairs(evidence, "holdout")]
    found = paired(differences, confidence)
    why = _why_degraded(evidence)
    gates, verdict = judge(
        evidence.least_lift, evidence.confidence, found, changed=evidence.changed, degraded_why=why,
        best=evidence.best["number"],
    )  # fmt: skip
    return {
        "degraded": bool(why),
        "degraded_why": why,
        "holdout": {
            "n": found.n, "lift": found.lift, "sd": found.sd, "interval": found.interval,
            "sign_test_p": found.sign_test_p, "permutation_p": found.permutation_p, "wins": found.wins,
            "losses": found.losses, "ties": found.ties, "smallest_detectable_lift": found.smallest_detectable_lift,
            "standard_error": standard_error(found.sd, found.n), "confidence": confidence,
        },
        "gates": gates,
        "verdict": _provisional(evidence, verdict) if evidence.is_provisional else verdict,
    }  # fmt: skip


def _provisional(evidence: Evidence, verdict: ReportVerdict) -> ReportVerdict:
    """What can be said of the leader of a run that has not ended: how it does on validation."""
    run, number = evidence.run, evidence.best["number"]
    where = f"{run['status']}, {words(run['phase'] or '')}" if run["status"] == RunStatus.RUNNING else run["status"]
    lift = _both(evidence, "val")["lift"]
    leads = (
        f"candidate {number} leads on validation ({signed(lift)} against the baseline)"
        if evidence.changed
        else "no candidate does better than the baseline on validation"
    )
    sentence = f"Provisional: the run is {where}; so far {leads}."
    if evidence.changed:
        sentence += f" `rollout optimize judge {run['id']}` compares it on the holdout."
    return {**verdict, "outcome": "undecided", "more_tasks": None, "promote": False, "sentence": sentence}


def _why_degraded(evidence: Evidence) -> str:
    """What train and holdout lack, in a sentence; empty where they lack nothing."""
    missing = [
        f"{sum(counts.values())} on {split} ({', '.join(f'{n} {words(outcome)}' for outcome, n in counts.items())})"
        for split, counts in unscored(evidence.trials).items()
        if split != "val"
    ]
    if missing:
        return f"The run is degraded by trials without a score, {' and '.join(missing)}."
    return "The run is degraded, since it ended with trials without a score." if evidence.run["degraded"] else ""


def _texts(evidence: Evidence) -> Texts:
    before, after = texts_of(evidence.baseline), texts_of(evidence.best)
    train = [evidence.tasks[name] for name in evidence.split.get("train", ()) if name in evidence.tasks]
    return {
        "prompt_length": {"before": sum(map(len, before.values())), "after": sum(map(len, after.values()))},
        "overlap": {
            **overlap("\n\n".join(after.values()), train),
            "in_baseline": overlap("\n\n".join(before.values()), train),
        },
    }


def _volatile(evidence: Evidence) -> ReportVolatile:
    run = evidence.run
    costs = _measured(evidence, "cost_usd", python_statistics.fmean)
    latencies = _measured(evidence, "latency_ms", python_statistics.median)
    found: ReportVolatile = {
        "cost": {
            "total_usd": run["cost_usd"], "per_task_before": costs[0], "per_task_after": costs[1],
        },
        "latency_ms": {"before": latencies[0], "after": latencies[1]},
        "created_at": run["created_at"],
        "started_at": run["started_at"],
        "finished_at": run["finished_at"],
    }  # fmt: skip
    if evidence.bypassed:
        found["bypassed"] = list(evidence.bypassed)
    return found


def _measured(
    evidence: Evidence, column: Literal["cost_usd", "latency_ms"], summary: Callable[[list[float]], float]
) -> tuple[float | None, float | None]:
    """One summary of a column over the holdout trials of baseline and best; None where nothing is known."""
    before, after = (_known(evidence.trials_of(one, "holdout"), column) for one in (evidence.baseline, evidence.best))
    return summary(before) if before else None, summary(after) if after else None


def _known(trials: Sequence[TrialRow], column: Literal["cost_usd", "latency_ms"]) -> list[float]:
    return [value for trial in trials if (value := trial[column]) is not None]
