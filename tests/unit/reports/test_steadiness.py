"""How often one text gave another output to the same task, as the report says it."""

import pytest

from rollout_local.domain.run import Phase
from rollout_local.reports import promotion, steadiness
from rollout_local.reports.outline import outline


def test_executions_of_one_text_on_one_task_are_compared_with_the_first(make_run):
    run = make_run()
    run.scores(0, "holdout", [0.0])
    run.trial(0, "train-0", 0.0, occurrence=0, output="a")
    for occurrence, output in enumerate(["a", "b", "a", None], 1):
        score = None if output is None else 0.0
        run.trial(0, "train-0", score, occurrence=occurrence, phase=Phase.SEARCH, output=output)
    run.trial(0, "train-1", 0.0, occurrence=0, output="b")
    run.candidate(1, "Better.")
    run.trial(1, "train-0", 0.0, occurrence=1, phase=Phase.SEARCH, output="c")
    run.best(1)
    report = promotion.build(run.store, run.row)
    assert report["repeats"] == {"again": 3, "other_output": 1}
    said = "Not steady: asked the same again 3 times, a text gave another output 1 time. A live rerun will differ"
    assert any(said in str(block) for block in outline(report))


@pytest.mark.parametrize(
    ("again", "other", "said"),
    [
        (0, 0, "No text was asked a task twice, so how steady the models are is not known."),
        (1, 0, "Steady in this run: asked the same again 1 time, a text gave the output of before. A live rerun"),
        (9, 2, "Not steady: asked the same again 9 times, a text gave another output 2 times. A live rerun will"),
    ],
)  # fmt: skip
def test_the_sentence_says_what_to_expect_of_a_live_rerun(again, other, said):
    assert steadiness.sentence({"again": again, "other_output": other}).startswith(said)
