import dataclasses
import json

import pytest

from rollout_local.domain.identity import canonical_json
from rollout_local.domain.run import Phase, RunStatus, StopReason, TrialOutcome
from rollout_local.errors import InputError, StoreError
from rollout_local.reports import promotion
from rollout_local.reports.digest import digest
from rollout_local.reports.evidence import gather
from rollout_local.reports.standing import standing
from rollout_local.store import lifecycle
from rollout_local.store.stored_run import StoredRun


def report_of(builder):
    return promotion.build(builder.store, builder.row)


def gate(report, name):
    return next(found for found in report["gates"] if found["name"] == name)


def test_the_report_has_its_documented_keys(improved):
    documented = {
        "format", "run_id", "attempt", "target", "status", "stop_reason",
        "simulated", "degraded", "degraded_why", "baseline",
        "best", "changed", "holdout", "improved", "regressed", "checks", "overfitting", "unscored", "calls", "budget",
        "prompt_length", "overlap", "gates", "verdict", "doubts", "repeats", "volatile",
    }  # fmt: skip
    report = report_of(improved)
    assert set(report) == documented
    assert all(name in promotion.__doc__ for name in documented)
    assert json.loads(canonical_json(report)) == report


def test_best_and_baseline_are_shown_with_mean_spread_and_count(improved):
    report = report_of(improved)
    assert report["baseline"]["number"] == 0
    assert report["baseline"]["val"] == {"mean": 0.375, "n": 4, "sd": 0.144337567297}
    assert report["best"]["components"] == {"instructions": "Answer the question.\nName the policy in one sentence."}
    assert report["best"]["holdout"]["mean"] == 0.875
    assert report["changed"] is True
    assert report["prompt_length"] == {"before": 20, "after": 53}
    assert report["target"] == {"id": "support-agent", "kind": "prompt"}


def test_the_lift_is_paired_by_task(improved):
    holdout = report_of(improved)["holdout"]
    assert (holdout["n"], holdout["lift"]) == (8, 0.5)
    assert (holdout["wins"], holdout["losses"], holdout["ties"]) == (7, 1, 0)
    assert holdout["sign_test_p"] == pytest.approx(18 / 256)
    assert holdout["interval"][0] < 0.5 < holdout["interval"][1]
    assert holdout["standard_error"] == pytest.approx(holdout["sd"] / 8**0.5)
    assert holdout["confidence"] == 0.95


def test_a_holdout_task_without_a_score_for_both_is_not_compared(make_run):
    run = make_run(sizes=(2, 2, 3))
    run.scores(0, "holdout", [0.0, 0.5, None])
    run.candidate(1, "Better.")
    run.scores(1, "holdout", [None, 1.0, 1.0])
    run.best(1)
    report = report_of(run)
    assert (report["holdout"]["n"], report["holdout"]["lift"]) == (1, 0.5)
    assert report["best"]["holdout"] == {"mean": 1.0, "n": 2, "sd": 0.0}
    assert "1 task on the holdout cannot tell" in report["verdict"]["luck_sentence"]
    assert report["unscored"] == {"holdout": {"provider_error": 2}}


def test_a_task_that_ran_twice_counts_once_with_its_mean(make_run):
    run = make_run(sizes=(2, 2, 2))
    run.scores(0, "holdout", [0.0, 0.5])
    run.candidate(1, "Better.")
    run.scores(1, "holdout", [1.0, 1.0])
    run.trial(1, "holdout-0", 0.0, occurrence=1)
    run.best(1)
    report = report_of(run)
    assert [(m["task"], m["lift"]) for m in report["improved"]] == [("holdout-0", 0.5), ("holdout-1", 0.5)]
    assert report["holdout"]["n"] == 2


def test_moved_tasks_come_with_both_outputs_and_feedback(improved):
    report = report_of(improved)
    first = report["improved"][0]
    assert (first["task"], first["lift"], first["input"]) == ("holdout-0", 1.0, {"text": "holdout question 0"})
    expected = {"score": 0.0, "output": "output of 0 on holdout-0", "feedback": "expected more of holdout-0"}
    assert first["baseline"] == expected
    assert first["best"]["output"] == "output of 1 on holdout-0"
    assert [m["task"] for m in report["regressed"]] == ["holdout-7"]
    assert [m["lift"] for m in report["improved"]] == sorted((m["lift"] for m in report["improved"]), reverse=True)


def test_the_checks_say_what_the_verifier_sees_moving(improved):
    assert report_of(improved)["checks"] == [{"id": "tone", "n": 8, "before": 0.0, "after": 1.0, "lift": 1.0}]


def test_overfitting_compares_the_tasks_of_both(improved):
    overfitting = report_of(improved)["overfitting"]
    assert overfitting["train"] == {
        "baseline": pytest.approx(1.25 / 3), "best": 0.75, "lift": pytest.approx(1 / 3), "n": 3,
    }  # fmt: skip
    assert overfitting["val"]["lift"] == 0.3125


def test_calls_are_counted_by_phase_and_against_the_budget(improved):
    report = report_of(improved)
    assert list(report["calls"]) == ["evaluating_baseline", "searching", "evaluating_best"]
    assert report["calls"]["searching"] == {"asked": 7, "spent": 7, "errors": 0}
    assert report["budget"] == {"asked": 60, "spent": 7}


def test_cost_latency_and_times_are_kept_apart(improved):
    volatile = report_of(improved)["volatile"]
    assert volatile["latency_ms"] == {"before": 100.0, "after": 150.0}
    assert volatile["cost"]["per_task_before"] == pytest.approx(0.002)
    assert volatile["cost"]["total_usd"] == pytest.approx(0.048)
    assert volatile["created_at"]


def test_a_cost_that_nobody_knows_is_not_zero(make_run):
    run = make_run()
    run.scores(0, "holdout", [0.5])
    assert report_of(run)["volatile"]["cost"] == {"total_usd": None, "per_task_before": None, "per_task_after": None}


def test_a_lift_without_gates_is_promoted_and_judged_for_luck(improved):
    verdict = report_of(improved)["verdict"]
    assert verdict["promote"] is True
    assert verdict["sentence"].startswith("Promote candidate 1: it lifts the holdout mean by +0.500 (8 tasks, 95 %")
    assert verdict["may_be_luck"] is False
    assert "permutation p = 0.023" in verdict["luck_sentence"]


@pytest.mark.parametrize(("asked", "met"), [(0.0, True), (0.5, True), (0.5 + 5e-10, True), (0.51, False), (1.0, False)])
def test_the_least_improvement_that_was_asked_for_is_a_gate(make_run, improve, asked, met):
    report = report_of(improve(make_run(config={"min_holdout_improvement": asked})))
    found = gate(report, "min_holdout_improvement")
    assert (found["asked"], found["seen"], found["met"]) == (pytest.approx(asked, abs=1e-12), 0.5, met)
    assert report["verdict"]["promote"] is met
    if not met:
        assert (
            report["verdict"]["sentence"]
            == f"Do not promote: the holdout lift is +0.500; asked is at least {asked:.3f}."
        )


def test_a_confidence_gate_asks_for_an_interval_above_zero(make_run, improve):
    sure = report_of(improve(make_run(config={"confidence": 0.8}, run_id="opt_a")))
    assert gate(sure, "confidence")["met"] is True
    assert sure["holdout"]["confidence"] == 0.8
    surer = report_of(improve(make_run(config={"confidence": 0.999}, run_id="opt_b")))
    low = surer["holdout"]["interval"][0]
    assert gate(surer, "confidence") == {
        "name": "confidence", "asked": 0.999, "seen": low, "met": False,
        "sentence": f"The 99.9 % interval of the lift begins at {low:+.3f}; asked is above 0.",
    }  # fmt: skip
    assert (surer["verdict"]["outcome"], surer["verdict"]["promote"]) == ("undecided", False)
    assert surer["verdict"]["may_be_luck"] is True


def test_a_confidence_gate_is_not_met_by_a_single_task(make_run):
    run = make_run(sizes=(1, 1, 1), config={"confidence": 0.9})
    run.scores(0, "holdout", [0.0])
    run.candidate(1, "Better.")
    run.scores(1, "holdout", [1.0])
    run.best(1)
    report = report_of(run)
    assert gate(report, "confidence")["met"] is False
    assert "too few holdout tasks" in gate(report, "confidence")["sentence"]
    assert report["verdict"]["outcome"] == "undecided"


def test_the_baseline_that_stays_best_is_an_honest_no(make_run):
    run = make_run()
    run.scores(0, "holdout", [0.5, 1.0, 0.0])
    report = report_of(run)
    assert report["changed"] is False
    assert (report["holdout"]["lift"], report["holdout"]["interval"]) == (0.0, [0.0, 0.0])
    assert (report["improved"], report["regressed"]) == ([], [])
    assert report["verdict"] == {
        "outcome": "do_not_promote",
        "more_tasks": None,
        "promote": False,
        "sentence": "Do not promote: no text did better than the baseline, which stays best.",
        "may_be_luck": True,
        "luck_sentence": "There is no new text, so there is no lift to judge.",
    }


def test_a_text_that_is_worse_on_the_holdout_is_not_promoted(make_run):
    run = make_run(sizes=(1, 1, 3))
    run.scores(0, "holdout", [0.5, 1.0, 0.5])
    run.candidate(1, "Worse.")
    run.scores(1, "holdout", [0.5, 0.5, 0.0])
    run.best(1)
    report = report_of(run)
    assert report["verdict"]["promote"] is False
    assert report["verdict"]["sentence"] == "Do not promote: the holdout lift is -0.333; asked is above 0."
    assert report["verdict"]["luck_sentence"].startswith("There is no lift")


def test_a_holdout_that_nobody_scored_is_said(make_run):
    run = make_run()
    run.candidate(1, "Better.")
    run.best(1)
    report = report_of(run)
    assert report["holdout"]["lift"] is None
    assert report["holdout"]["standard_error"] is None
    assert "No holdout task was scored for both" in gate(report, "holdout_lift")["sentence"]
    assert report["verdict"]["may_be_luck"] is True


def test_few_tasks_may_be_luck_even_where_all_improve(make_run):
    run = make_run(sizes=(1, 1, 3))
    run.scores(0, "holdout", [0.0, 0.0, 0.25])
    run.candidate(1, "Better.")
    run.scores(1, "holdout", [1.0, 1.0, 1.0])
    run.best(1)
    verdict = report_of(run)["verdict"]
    assert (verdict["outcome"], verdict["promote"], verdict["may_be_luck"]) == ("undecided", False, True)
    assert "3 tasks reliably show lifts of" in verdict["luck_sentence"]


def test_a_lift_whose_interval_reaches_zero_is_undecided_and_says_what_would_decide_it(make_run):
    run = make_run(sizes=(1, 1, 12))
    run.scores(0, "holdout", [0.0] * 12)
    run.candidate(1, "Better.")
    run.scores(1, "holdout", [1.0, 1.0] + [0.0] * 10)
    run.best(1)
    report = report_of(run)
    verdict, (low, high) = report["verdict"], report["holdout"]["interval"]
    assert (verdict["outcome"], verdict["promote"], verdict["may_be_luck"]) == ("undecided", False, True)
    assert low < 0
    assert verdict["sentence"] == (
        f"Undecided: candidate 1 lifts the holdout mean by +0.167 (12 tasks, 95 % interval {low:+.3f} to {high:+.3f}),"
        f" which luck alone may do; about {verdict['more_tasks']} tasks more on the holdout would decide a lift of this"
        " size."
    )
    assert 20 <= verdict["more_tasks"] <= 40
    assert [found["name"] for found in report["gates"] if not found["met"]] == ["interval"]


@pytest.mark.parametrize("asked", [0.0, 0.1])
def test_a_lift_that_is_asked_for_and_seen_is_undecided_too_where_it_may_be_luck(make_run, asked):
    run = make_run(sizes=(1, 1, 4), config={"min_holdout_improvement": asked})
    run.scores(0, "holdout", [0.0, 0.0, 0.0, 0.0])
    run.candidate(1, "Better.")
    run.scores(1, "holdout", [1.0, 0.0, 0.0, 0.0])
    run.best(1)
    assert report_of(run)["verdict"]["outcome"] == "undecided"


def test_a_report_of_an_older_format_is_judged_as_this_one_judges(make_run, store):
    run = make_run(sizes=(1, 1, 3))
    run.scores(0, "holdout", [0.0, 0.0, 0.25])
    run.candidate(1, "Better.")
    run.scores(1, "holdout", [1.0, 1.0, 1.0])
    run.best(1)
    newest = report_of(run)
    older = json.loads(json.dumps(newest)) | {"format": 1, "gates": newest["gates"][:-1]}
    older["verdict"] = {"promote": True, "sentence": "Promote.", "may_be_luck": True, "luck_sentence": "It may be."}
    lifecycle.add_report(store, run.run_id, run.attempt, canonical_json(older), run.stamp)
    seen = standing(store, run.run_id, run.attempt, StoredRun(run.row).config)
    assert promotion.rounded(seen["verdict"]) == newest["verdict"]
    assert promotion.rounded(seen["gates"]) == newest["gates"]


def test_two_equal_differences_are_too_few_to_tell(make_run):
    run = make_run(sizes=(1, 1, 2))
    run.scores(0, "holdout", [0.0, 0.0])
    run.candidate(1, "Better.")
    run.scores(1, "holdout", [0.5, 0.5])
    run.best(1)
    assert "2 tasks are too few to show a lift reliably" in report_of(run)["verdict"]["luck_sentence"]


@pytest.mark.parametrize("split", ["train", "holdout"])
def test_a_degraded_run_is_refused_with_the_reason(make_run, improve, split):
    run = improve(make_run(sizes=(7, 4, 9)))
    task = {"train": "train-6", "holdout": "holdout-8"}[split]
    run.trial(0, task, None, outcome=TrialOutcome.TIMEOUT)
    report = report_of(run)
    assert report["degraded"] is True
    assert report["degraded_why"] == f"The run is degraded by trials without a score, 1 on {split} (1 timeout)."
    assert report["verdict"]["promote"] is False
    assert f"1 on {split} (1 timeout)" in report["verdict"]["sentence"]


def test_trials_in_which_the_target_itself_failed_are_counted_and_the_first_is_named(make_run, improve):
    run = improve(make_run(sizes=(7, 4, 9)))
    assert "target_failures" not in report_of(run)
    failed = {"error": "the target raised KeyError: 'x'\n  more", "error_kind": "target", "output": ""}
    run.trial(1, "train-6", 0.0, **failed)
    run.trial(0, "holdout-8", 0.0, **failed)
    run.trial(1, "train-6", 0.0, occurrence=1, error="the request was too long", error_kind="context_length")
    report = report_of(run)
    first = {"candidate": 0, "split": "holdout", "task": "holdout-8", "error": "the target raised KeyError: 'x'"}
    assert report["target_failures"] == {"trials": 2, "of": 36, "first": first}
    assert report["degraded"] is False


def test_their_count_follows_from_the_trials_and_is_not_in_the_digest(improved):
    improved.trial(1, "holdout-0", 0.0, occurrence=1, error="the target returned nothing", error_kind="target")
    report = report_of(improved)
    digests = set()
    for document in (report, {name: value for name, value in report.items() if name != "target_failures"}):
        lifecycle.add_report(
            improved.store, improved.run_id, improved.attempt, canonical_json(document), improved.stamp
        )
        digests.add(digest(improved.store, improved.row).digest)
    assert "target_failures" in report
    assert len(digests) == 1


def test_a_run_that_its_runner_called_degraded_is_degraded(improved):
    row = {**improved.row, "degraded": 1}
    assert "ended with trials without a score" in promotion.build(improved.store, row)["degraded_why"]


def test_an_unscored_val_trial_does_not_degrade(improved):
    improved.candidate(2, "Third.")
    improved.trial(2, "val-0", None)
    report = report_of(improved)
    assert report["unscored"] == {"val": {"provider_error": 1}}
    assert report["degraded"] is False


def test_a_superseded_trial_is_no_evidence(make_run, improve):
    run = make_run(sizes=(6, 4, 9))
    run.trial(0, "holdout-8", None)
    run.trial(0, "holdout-8", 0.25)
    report = report_of(improve(run))
    assert report["unscored"] == {}
    assert report["baseline"]["holdout"]["n"] == 9


def test_the_simulator_is_named_only_where_the_config_says(make_run, store):
    assert report_of(make_run(config={"simulated": True}))["simulated"] is True
    evidence = gather(store, make_run(run_id="opt_other").row)
    silent = {name: value for name, value in evidence.config.items() if name != "simulated"}
    assert "simulated" not in promotion.assemble(dataclasses.replace(evidence, config=silent))


def test_a_rescore_is_the_same_evidence_with_other_trials(improved, store):
    evidence = gather(store, improved.row)
    flat = [{**trial, "score": 0.5} for trial in evidence.trials]
    report = promotion.assemble(dataclasses.replace(evidence, trials=flat))
    assert (report["holdout"]["lift"], report["verdict"]["promote"]) == (0.0, False)


def test_a_run_that_writes_its_report_is_completed_by_it(make_run, store):
    run = make_run(status=RunStatus.RUNNING)
    lifecycle.set_stop_reason(store, run.run_id, StopReason.BUDGET_SPENT)
    assert report_of(run)["status"] == "running"
    lifecycle.set_phase(store, run.run_id, Phase.FINALIZE)
    report = report_of(run)
    assert (report["status"], report["stop_reason"]) == ("completed", "budget_spent")


def test_a_run_that_never_began_has_no_report(make_run, store):
    row = {**make_run().row, "baseline_candidate_id": None}
    with pytest.raises(InputError, match="evaluated nothing yet; start it with `rollout optimize run opt_test`"):
        promotion.build(store, row)


def test_only_the_newest_attempt_is_reported(improved, store):
    improved.attempt = lifecycle.begin_attempt(store, improved.run_id, pid=1, host="here", at="2026-01-02")
    improved.journal = type(improved.journal)(store, improved.run_id, improved.attempt)
    improved.candidate(0, improved.texts, ())
    lifecycle.set_candidates(store, improved.run_id, baseline=improved.ids[0])
    report = report_of(improved)
    assert (report["attempt"], report["baseline"]["holdout"]["n"]) == (2, 0)


@pytest.mark.parametrize("side", ["baseline", "best"])
def test_a_report_with_another_text_than_its_candidate_is_not_shown(improved, side):
    report = report_of(improved)
    report[side]["components"] = {name: f"{text} More." for name, text in report[side]["components"].items()}
    lifecycle.add_report(improved.store, improved.run_id, improved.attempt, canonical_json(report), "2026")
    said = rf"the report of run opt_test in .* has another text than its candidate {report[side]['number']}"
    with pytest.raises(StoreError, match=said):
        standing(improved.store, improved.run_id, improved.attempt, StoredRun(improved.row).config)
