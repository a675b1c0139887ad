import pytest

from rollout_local.reports.blame import as_text, blame
from rollout_local.reports.lineage import Family

BASE = "Answer the question.\nBe kind.\n"


def family(texts, parents):
    return Family(dict(enumerate(texts)), parents)


def origins(found, number):
    return [[step.candidate for step in history] for history in found.histories(number)]


def test_a_line_belongs_to_the_earliest_ancestor_it_survives_from():
    found = family(["a line\n", "a line\nsecond thing", "zeroth\na line\nsecond thing"], {1: [0], 2: [1]})
    assert origins(found, 2) == [[2], [0], [1]]


def test_a_rewritten_line_keeps_the_chain_of_its_wordings():
    found = family(
        [
            "State the refund window.",
            "State the refund window of 30 days.",
            "Always state the refund window of 30 days.",
        ],
        {1: [0], 2: [1]},
    )
    (history,) = found.histories(2)
    assert [(step.candidate, step.text) for step in history] == list(enumerate(found.texts.values()))
    assert history[0].ratio is None
    assert all(step.ratio >= 0.6 for step in history[1:])


def test_a_line_that_replaces_an_unlike_one_is_new():
    assert origins(family(["Be kind.", "Return JSON with the keys urgency and mood."], {1: [0]}), 1) == [[1]]


def test_a_line_that_moved_is_not_new():
    assert origins(family(["one thing\nother stuff\nlast", "last\none thing\nother stuff"], {1: [0]}), 1) == [[0]] * 3


def test_the_most_alike_lines_are_matched_one_to_one():
    before = "Give the urgency as high or low."
    after = "Give the urgency as high, medium or low.\nGive the urgency as high or low!"
    assert origins(family([before, after], {1: [0]}), 1) == [[1], [0, 1]]


def test_a_merge_takes_each_line_from_the_parent_that_has_it():
    texts = ["Base line.", "Base line.\nFrom one, about refunds.", "Base line.\nOf two: tone matters.", ""]
    texts[3] = "Base line.\nFrom one, about refunds.\nOf two: tone matters.\nIts own new sentence here."
    assert origins(family(texts, {1: [0], 2: [0], 3: [1, 2]}), 3) == [[0], [1], [2], [3]]


def test_a_text_without_parents_is_its_own_origin():
    assert origins(family(["a", "b"], {}), 1) == [[1]]
    assert origins(Family({1: "b"}, {1: [0]}), 1) == [[1]]


@pytest.fixture
def planted(make_run):
    """Candidates 1 (keys), 2 (rejected), 3 (rewrites 1's line, adds tone): the best is 3."""
    run = make_run(texts={"instructions": "Triage the message."}, sizes=(4, 3, 2))
    run.scores(0, "train", [0.0, 0.25, 0.5, 0.5])
    run.scores(0, "val", [0.0, 0.5, 0.5])
    run.candidate(1, "Triage the message.\nReturn the keys urgency and mood.")
    run.proposal(1, 1, feedback=[{"task": "train-0", "feedback": "no keys\nmore"}], before=0.1, after=0.4)
    run.scores(1, "train", [0.5], occurrence=1)
    run.scores(1, "val", [0.5, 0.5, 0.75])
    run.candidate(2, "Something else.")
    run.proposal(2, 2, accepted=False)
    run.candidate(3, "Triage the message.\nReturn the keys urgency, mood and area.\nBe polite.", parents=(1,))
    feedback = [{"task": "train-1", "feedback": "area is missing"}, {"task": "train-3", "feedback": "rude"}]
    run.proposal(3, 3, parent=1, feedback=feedback, before=0.4, after=0.8)
    run.scores(3, "val", [1.0, 0.5, 0.75])
    run.best(3)
    return run


def test_every_planted_line_is_blamed_on_its_proposal(planted):
    found = blame(planted.store, planted.row)
    assert [(line["text"], line["candidate"]) for line in found["lines"]] == [
        ("Triage the message.", 0), ("Return the keys urgency, mood and area.", 3), ("Be polite.", 3),
    ]  # fmt: skip
    assert [step["candidate"] for step in found["lines"][1]["history"]] == [1, 3]
    assert list(found["proposals"]) == ["1", "3"]


def test_a_proposal_comes_with_its_causes_and_measured_effect(planted):
    third = blame(planted.store, planted.row)["proposals"]["3"]
    assert (third["iteration"], third["parents"], third["components"]) == (3, [1], ["instructions"])
    assert third["tasks"] == ["train-1", "train-3"]
    assert third["feedback"][0] == {"task": "train-1", "feedback": "area is missing"}
    assert third["minibatch"] == {"before": 0.4, "after": 0.8}
    assert third["val"][0] == {"task": "val-0", "before": 0.5, "after": 1.0}
    first = blame(planted.store, planted.row)["proposals"]["1"]
    assert first["train"] == [{"task": "train-0", "before": 0.0, "after": 0.5}]


def test_blame_reads_as_text(planted):
    text = as_text(blame(planted.store, planted.row))
    assert "    1>3 | Return the keys urgency, mood and area." in text
    assert "      0 | Triage the message." in text
    assert "Candidate 3: from 1, iteration 3" in text
    assert "the mean went from 0.400 to 0.800. On val, over 3 tasks, it changed by +0.167." in text
    assert "no keys" in text
    assert "more" not in text.split("no keys")[1].split("\n")[0]


def test_a_baseline_that_stays_best_blames_nobody(make_run):
    run = make_run()
    found = blame(run.store, run.row)
    assert found["proposals"] == {}
    assert "It is the baseline, unchanged." in as_text(found)


def test_components_are_blamed_one_by_one_and_share_their_feedback(make_run):
    run = make_run(texts={"plan": "Plan it.", "answer": "Answer it."})
    run.candidate(1, {"plan": "Plan it.\nIn three steps.", "answer": "Answer it.\nIn one sentence."})
    for component in ("plan", "answer"):
        run.proposal(1, 1, component=component, feedback=[{"task": "train-0", "feedback": "vague"}])
    run.best(1)
    found = blame(run.store, run.row)
    by_component = {(line["component"], line["line"]): line["candidate"] for line in found["lines"]}
    assert by_component == {("answer", 1): 0, ("answer", 2): 1, ("plan", 1): 0, ("plan", 2): 1}
    proposal = found["proposals"]["1"]
    assert proposal["components"] == ["answer", "plan"]
    assert proposal["feedback"] == [{"task": "train-0", "feedback": "vague"}]
    assert "\nplan\n" in as_text(found)


def test_a_merge_without_a_proposal_of_its_own_is_told_without_one(make_run):
    run = make_run(texts={"instructions": "Base line here."})
    run.candidate(1, "Base line here.\nFirst addition of text.")
    run.candidate(2, "Base line here.\nQuite another sentence, on tone.")
    run.candidate(
        3, "Base line here.\nFirst addition of text.\nQuite another sentence, on tone.\nGlue!", parents=(1, 2)
    )
    run.best(3)
    found = blame(run.store, run.row)
    assert [line["candidate"] for line in found["lines"]] == [0, 1, 2, 3]
    merged = found["proposals"]["3"]
    assert (merged["parents"], merged["iteration"], merged["feedback"]) == ([1, 2], None, [])
    text = as_text(found)
    assert "Candidate 3: from 1 and 2\nNo score of it and its parent can be compared." in text


def test_a_candidate_without_a_known_parent_has_no_change(make_run):
    run = make_run()
    run.candidate(1, "Quite another text.", parents=())
    run.best(1)
    assert blame(run.store, run.row)["proposals"]["1"]["val"] == []
