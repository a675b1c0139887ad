import json

import pytest

from rollout_local.domain.dataset import Dataset, Task
from rollout_local.errors import InputError
from rollout_local.reports.compare import as_text, compare


@pytest.fixture
def two(make_run, improve):
    first = improve(make_run(run_id="opt_aaa", config={"seed": 0}))
    first.journal.add_point("best_val", 4, 0.5, first.stamp)
    first.journal.add_point("best_val", 11, 0.6875, first.stamp)
    first.journal.add_point("val_mean", 0, 0.1, first.stamp)
    second = make_run(run_id="opt_bbb", config={"seed": 7, "log_dir": "x", "name": "n"}, budget=99)
    second.scores(0, "holdout", [0.0, 0.5])
    second.candidate(1, "Answer the question.\nShortly.")
    second.scores(1, "holdout", [0.25, 0.5])
    second.best(1)
    return first, second


def compared(*runs):
    return compare(runs[0].store, [run.row for run in runs])


def test_only_what_differs_in_set_up_is_listed(two):
    assert compared(*two)["differs"] == {"seed": [0, 7], "budget": [60, 99]}


def test_headline_scores_stand_side_by_side(two):
    first, second = compared(*two)["runs"]
    assert (first["id"], first["lift"], first["holdout"]) == (
        "opt_aaa",
        0.5,
        {"baseline": 0.375, "best": 0.875, "n": 8},
    )
    assert (second["lift"], second["best"], second["budget"]) == (0.125, 1, 99)
    assert second["train"] == {"baseline": None, "best": None, "n": 0}


def test_the_series_is_score_against_calls(two):
    assert compared(*two)["series"] == [[[4, 0.5], [11, 0.6875]], []]


def test_tasks_are_listed_with_the_widest_spread_first(two):
    tasks = compared(*two)["tasks"]
    assert tasks[0]["task"] == "holdout-0"
    assert tasks[0]["runs"] == [
        {"baseline": 0.0, "best": 1.0, "lift": 1.0}, {"baseline": 0.0, "best": 0.25, "lift": 0.25},
    ]  # fmt: skip
    assert next(row for row in tasks if row["task"] == "holdout-5")["runs"][1] is None
    assert len(tasks) == 8


def test_the_comparison_is_plain_json_and_reads_as_text(two):
    found = compared(*two)
    text = as_text(json.loads(json.dumps(found)))
    for said in ("opt_aaa", "0.375 to 0.875", "seed", "A: 0.500 after 4, 0.688 after 11", "holdout-0",
                 "-Name the policy", "+Shortly.", "--- A", "+++ B"):  # fmt: skip
        assert said in text
    assert found["same_prompts"] is False


def test_a_run_compared_with_itself_differs_in_nothing(two):
    found = compared(two[0], two[0])
    text = as_text(found)
    assert found["differs"] == {}
    assert "Their set-ups are the same." in text
    assert "All ended with the same text." in text


def test_changed_inputs_are_named_by_their_hash(make_run):
    other = Dataset(
        name="Other", slug="other", tasks=tuple(Task(name=f"{s}-0", instruction=s) for s in ("train", "val", "holdout"))
    )
    first = make_run(run_id="opt_a")
    second = make_run(run_id="opt_b", dataset=other, source_hash="sha256:other", texts={"instructions": "Other."})
    differs = compared(first, second)["differs"]
    assert set(differs) == {"dataset", "splits", "target_source", "baseline"}
    assert differs["dataset"][1] == f"other@1 {other.content_hash}"
    assert "sha256:source" in as_text(compared(first, second))


def test_settings_of_one_run_only_show_a_dash(make_run):
    found = compared(make_run(run_id="opt_a"), make_run(run_id="opt_b", config={"confidence": 0.9, "tags": ["x"]}))
    assert found["differs"] == {"confidence": [None, 0.9], "tags": [[], ["x"]]}
    assert "confidence  –   0.9" in as_text(found)


def test_more_tasks_than_fit_are_counted(make_run):
    runs = []
    for name in ("opt_a", "opt_b"):
        run = make_run(run_id=name, sizes=(1, 1, 23))
        run.scores(0, "holdout", [0.5] * 23)
        runs.append(run)
    assert "… and 3 more" in as_text(compared(*runs))


def test_one_run_alone_is_refused(two):
    with pytest.raises(InputError, match="two runs or more"):
        compared(two[0])
