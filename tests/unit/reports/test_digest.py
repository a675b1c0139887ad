import copy
import json

import pytest

from rollout_local.domain.identity import canonical_json
from rollout_local.domain.run import CandidateStatus, Phase, TrialOutcome
from rollout_local.reports import promotion
from rollout_local.reports.digest import digest, digest_of, rows
from rollout_local.store import lifecycle
from rollout_local.store.schema import open_store

TABLES = ("candidates", "parents", "proposals", "trials", "report")
FEEDBACK = [{"task": "train-0", "inputs": {"q": 1.0}, "output": "x", "feedback": "say why"}]


@pytest.fixture
def write(tmp_path, make_run):
    """Write the same run into a database of its own; arguments say what is otherwise."""
    made = []

    def written(
        *, shuffled=False, report=True, prefix=(), trial=None, proposal=None, status=None, texts=None, **fields
    ):
        opened = open_store(tmp_path / f"{len(made)}.db")
        made.append(opened)
        run = make_run(store=opened, sizes=(3, 2, 3), **fields)
        run.candidate(1, texts or "Better.", status=status or CandidateStatus.ACCEPTED)
        run.candidate(2, "Worse.", parents=(0, 1), status=CandidateStatus.REJECTED)
        asked = [(1, 1), (2, 2)]
        for iteration, number in reversed(asked) if shuffled else asked:
            run.proposal(iteration, number, **({"feedback": FEEDBACK} | (proposal or {})))
        run.journal.add_proposal({**FAILED, "parent_candidate_id": run.ids[0], "created_at": run.stamp})
        for write_before in prefix:
            write_before(run)
        keys = [
            (number, f"{split}-{i}") for number in (0, 1) for split in ("train", "val", "holdout") for i in range(2)
        ]
        for number, task in reversed(keys) if shuffled else keys:
            run.trial(number, task, SCORES[number, task], **((trial or {}) if (number, task) == (1, "val-0") else {}))
        run.best(1)
        if report:
            told = canonical_json(promotion.build(opened, run.row))
            lifecycle.add_report(opened, run.run_id, run.attempt, told, run.stamp)
        return run

    yield written
    for opened in made:
        opened.close()


FAILED = {"iteration": 3, "component": "instructions", "candidate_id": None, "accepted": 0, "feedback_json": "[]"}
SCORES = {
    (number, f"{split}-{i}"): round(0.1 + 0.3 * number + 0.1 * i, 1)
    for number in (0, 1)
    for split in ("train", "val", "holdout")
    for i in range(2)
}


def of(run):
    return digest(run.store, run.row)


def test_a_digest_has_one_hash_per_table_and_one_over_them(write):
    found = of(write())
    assert tuple(found.tables) == TABLES
    assert all(value.startswith("sha256:") for value in [found.digest, *found.tables.values()])


def test_the_order_of_writing_does_not_count(write):
    assert of(write(shuffled=True)) == of(write())


def test_ids_times_paths_and_names_do_not_count(write):
    first = write()
    second = write(run_id="opt_other", stamp="2027-05-05T05:05:05Z", config={"log_dir": "elsewhere", "name": "n"})
    assert of(second) == of(first)


def test_superseded_trials_do_not_count(write):
    def failed_first(run):
        run.trial(1, "val-0", None, outcome=TrialOutcome.PROVIDER_ERROR, error="429")

    assert of(write(prefix=[failed_first])) == of(write())


def test_an_earlier_attempt_does_not_count(write):
    def a_fresh_start(run):
        run.scores(0, "holdout", [0.9, 0.9])
        run.attempt = lifecycle.begin_attempt(run.store, run.run_id, pid=2, host="here", at=run.stamp)
        run.journal = type(run.journal)(run.store, run.run_id, run.attempt)
        run.candidate(0, run.texts, (), CandidateStatus.BASELINE)
        lifecycle.set_candidates(run.store, run.run_id, baseline=run.ids[0], best=run.ids[0])
        run.candidate(1, "Better.")
        run.candidate(2, "Worse.", parents=(0, 1), status=CandidateStatus.REJECTED)
        for iteration, number in ((1, 1), (2, 2)):
            run.proposal(iteration, number, feedback=FEEDBACK)
        run.journal.add_proposal({**FAILED, "parent_candidate_id": run.ids[0], "created_at": run.stamp})

    assert of(write(prefix=[a_fresh_start])) == of(write())


@pytest.mark.parametrize(
    "volatile",
    [
        {"cost_usd": 0.5}, {"latency_ms": 12.5}, {"tries": 3}, {"reused": True}, {"trace_id": "trace_1"},
        {"metadata": {"seconds": 1}}, {"created_at": "2030-01-01"}, {"error": "HTTP 500", "error_kind": "server"},
    ],
    ids=lambda fields: next(iter(fields)),
)  # fmt: skip
def test_a_volatile_field_of_a_trial_does_not_count(write, volatile):
    assert of(write(trial=volatile)) == of(write())


@pytest.mark.parametrize(
    "field",
    [
        {"feedback": "other"}, {"output": "other"}, {"output_kind": "json"}, {"passed": True},
        {"checks_json": '[{"id":"c","score":0}]'}, {"phase": Phase.SEARCH}, {"occurrence": 1}, {"split": "train"},
    ],
    ids=lambda fields: next(iter(fields)),
)  # fmt: skip
def test_every_other_field_of_a_trial_counts(write, field):
    changed, plain = of(write(trial=field)), of(write())
    assert changed.tables["trials"] != plain.tables["trials"]
    assert changed.digest != plain.digest


@pytest.mark.parametrize(
    "field",
    [
        {"accepted": False}, {"reason": "other"}, {"before": 0.3}, {"after": 0.6}, {"component": "tone"},
        {"feedback": []}, {"parent": 1},
    ],
    ids=lambda fields: next(iter(fields)),
)  # fmt: skip
def test_every_field_of_a_proposal_counts(write, field):
    assert of(write(proposal=field)).tables["proposals"] != of(write()).tables["proposals"]


def test_a_candidates_text_and_status_count(write):
    plain = of(write()).tables["candidates"]
    assert of(write(texts="Bettered.")).tables["candidates"] != plain
    assert of(write(status=CandidateStatus.PROPOSED)).tables["candidates"] != plain


def test_the_lineage_and_the_report_count(write):
    run = write()
    canonical = rows(run.store, run.row)
    for table in TABLES:
        changed = copy.deepcopy(canonical)
        changed[table].pop()
        assert digest_of(changed).tables[table] != digest_of(canonical).tables[table]
        assert digest_of(changed).digest != digest_of(canonical).digest


def test_the_report_counts_without_what_the_run_happened_to_cost(write):
    run = write()
    told = json.loads(canonical_json(promotion.build(run.store, run.row)))
    told["volatile"]["cost"]["total_usd"] = 99
    told["calls"]["evaluating_baseline"]["spent"] = 0
    told["budget"]["spent"] = 0
    told |= {"status": "running", "simulated": True, "run_id": "opt_9"}
    plain = of(run)
    lifecycle.add_report(run.store, run.run_id, run.attempt, json.dumps(told), run.stamp)
    assert of(run) == plain
    told["verdict"]["promote"] = None
    lifecycle.add_report(run.store, run.run_id, run.attempt, json.dumps(told), run.stamp)
    assert of(run).tables["report"] != plain.tables["report"]


def test_a_run_without_a_report_has_a_digest(write):
    run = write(report=False)
    assert rows(run.store, run.row)["report"] == []


def test_means_are_taken_over_final_trials_and_not_from_running_sums(write):
    run = write()
    plain = of(run)
    with run.store.write() as db:
        db.execute("UPDATE candidates SET val_mean = 0.123, val_sum = 7, val_n = 9")
    assert of(run) == plain
    assert rows(run.store, run.row)["candidates"][1]["val"] == {"mean": 0.45, "n": 2}


def test_floats_count_to_twelve_digits(write):
    assert of(write(proposal={"before": 0.25 + 1e-15})) == of(write())
    assert of(write(proposal={"before": 0.25 + 1e-11})) != of(write())


def test_a_text_that_was_proposed_twice_is_one_text(write):
    def again(run):
        run.candidate(3, "Better.")

    run = write(prefix=[again])
    canonical = rows(run.store, run.row)
    assert {row["candidate"] for row in canonical["trials"]} == {0, 1}
    assert canonical["candidates"][3]["val"] == canonical["candidates"][1]["val"]
