"""What is told beside a verdict: tasks alike across splits, a holdout that was seen, scores that tell nothing apart."""

from rollout_local.domain.dataset import Dataset, Task
from rollout_local.domain.run import Phase
from rollout_local.reports import doubts, promotion
from rollout_local.reports.outline import outline

LONG = "the parcel that I ordered last week has not arrived at my new address in town"


def report_of(builder):
    return promotion.build(builder.store, builder.row)


def improved(run, split_scores):
    before, after = split_scores
    run.scores(0, "holdout", before)
    run.candidate(1, "Better.")
    run.scores(1, "holdout", after)
    run.best(1)
    return report_of(run)


def test_a_run_without_any_has_none(make_run):
    assert improved(make_run(), ([0.0] * 8, [0.5] * 7 + [1.0]))["doubts"] == []


def test_a_holdout_task_that_repeats_one_of_the_search_is_named_in_the_report(make_run):
    texts = {"train-0": LONG, "train-1": "something else", "val-0": "and more", "holdout-0": LONG + "!"}
    made = tuple(Task(name=name, input={"text": text}) for name, text in texts.items())
    run = make_run(dataset=Dataset(name="Made", slug="made", tasks=made))
    report = improved(run, ([0.0], [1.0]))
    assert report["doubts"] == [
        "a pair of a task that the search sees and a holdout task ask nearly the same: train-0 and holdout-0"
    ]
    assert any(report["doubts"][0] in str(block) for block in outline(report))


def labelled(*labels):
    names = [f"holdout-{number}" for number in range(len(labels))]
    return {
        name: Task(name=name, instruction="?", expected_output=label) for name, label in zip(names, labels, strict=True)
    }


def said(*outputs):
    return [{"task_name": f"holdout-{number}", "output": output} for number, output in enumerate(outputs)]


def test_a_text_that_has_one_thing_said_to_every_task_is_told():
    tasks = labelled(*["pleased", "cross"] * 5)
    assert doubts.one_answer(said(*["Pleased"] * 8, "Mood:", "cross"), tasks) == (
        "the best text has 'Pleased' said to 8 of 10 holdout tasks, and no answer is right for more than 5 of them: it "
        "may have learnt an answer, and not the task"
    )
    assert doubts.one_answer(said(*["pleased", "cross"] * 5), tasks) == ""
    assert doubts.one_answer(said(*["yes"] * 10), labelled(*["yes"] * 9, "no")) == "", "most are right"
    assert doubts.one_answer(said(*["yes"] * 7), labelled(*["yes", "no"] * 3, "no")) == "", "too few"
    assert doubts.one_answer(said(*["yes"] * 10), labelled(*[None] * 10)) == ""


def test_holdout_trials_that_all_score_alike_tell_nothing(make_run):
    run = make_run(sizes=(1, 1, 6))
    found = improved(run, ([1.0] * 6, [1.0] * 6))["doubts"]
    assert found == ["all 12 holdout trials have the score 1.000, so nothing can be told from them"]


def test_a_holdout_that_the_search_executed_or_shares_is_told(make_run):
    run = make_run()
    run.trial(0, "holdout-0", 0.5, phase=Phase.SEARCH)
    assert report_of(run)["doubts"] == ["the search executed holdout tasks"]
    shared = {"train": ["a"], "val": ["b"], "holdout": ["b", "c"]}
    assert doubts.seen_holdout(shared, own_val=True, executed=False) == "the search saw holdout tasks too: b"
    assert doubts.seen_holdout(shared, own_val=False, executed=False) == ""
    assert doubts.seen_holdout({"train": ["a"]}, own_val=True, executed=False) == "the run has no holdout"
