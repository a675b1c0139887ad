"""From checks to one verdict: means, thresholds, required checks, feedback, and what does not fit."""

import pytest

from rollout_local.domain.dataset import Task
from rollout_local.domain.target import AgentResult
from rollout_local.errors import InputError
from rollout_local.verifiers import GradingError, fits, grade, parse_spec, validate

TASK = Task(name="t", instruction="x")


def spec(*checks, stem="quality", **head):
    return parse_spec({"checks": list(checks), **head}, stem, f"{stem}.json")


def has(text, **more):
    return {"type": "contains", "value": text, **more}


def on(specs, output):
    return grade(specs if isinstance(specs, list) else [specs], TASK, AgentResult(output=output))


def test_the_score_is_the_weighted_mean_of_the_checks():
    assert on(spec(has("a", weight=3), has("b")), "a").score == 0.75
    assert on(spec(has("a"), has("b"), has("c")), "a b").score == 2 / 3


def test_no_rounding_keeps_a_perfect_output_from_passing():
    for weights in ([0.1, 0.2, 0.7], [0.1] * 10, [1e-300, 1e300], [1 / 3] * 7):
        verdict = on(spec(*[has("a", weight=weight) for weight in weights]), "a")
        assert (verdict.score, verdict.passed) == (1.0, True)


def test_a_score_at_the_threshold_passes_and_one_below_does_not():
    two = [has("a"), has("b")]
    assert on(spec(*two, passThreshold=0.5), "a").passed
    assert not on(spec(*two, passThreshold=0.51), "a").passed
    assert on(spec(*two, passThreshold=0), "").passed


def test_a_failed_required_check_fails_whatever_the_score():
    checks = [has("a", weight=99), has("b", required=True)]
    verdict = on(spec(*checks, passThreshold=0.5), "a")
    assert (verdict.score, verdict.passed) == (0.99, False)
    assert on(spec(has("a", required=True), has("b"), passThreshold=0.5), "a").passed


def test_a_check_of_weight_0_is_said_and_not_counted():
    verdict = on(spec(has("a"), has("b", weight=0)), "a")
    assert (verdict.score, verdict.passed) == (1.0, True)
    assert verdict.feedback == 'contains: expected the output to contain "b"; it does not'


def test_several_verifiers_give_the_plain_mean_and_each_must_pass():
    specs = [spec(has("a"), has("b"), stem="one", passThreshold=0.5), spec(has("c"), stem="two")]
    verdict = on(specs, "a")
    assert (verdict.score, verdict.passed) == (0.25, False)
    assert on(specs, "a c").passed
    assert verdict.feedback.splitlines() == [
        'one/contains: expected the output to contain "b"; it does not',
        'two/contains: expected the output to contain "c"; it does not',
    ]
    assert [check.id for check in verdict.checks] == ["one/contains", "one/contains-2", "two/contains"]


def test_the_feedback_has_a_line_per_imperfect_check_under_its_id_where_somebody_wrote_one():
    checks = [has("a", id="window"), has("b"), {"type": "json_path_equals", "path": "u", "equals": 1, "id": "urgency"}]
    assert on(spec(*checks), "{}").feedback.splitlines() == [
        'window: expected the output to contain "a"; it does not',
        'contains: expected the output to contain "b"; it does not',
        "json_path_equals u: expected 1, found nothing at that path",
    ]


def test_an_authors_message_stands_for_the_checks_own_words_and_leaves_other_hashes_as_they_were():
    right = {"type": "equals", "from_expected": "$", "message": "The whole answer is the one word {expected}. {reason}"}
    task = TASK.model_copy(update={"expected_output": "bike"})
    verdict = grade([spec({"id": "right", **right}, has("b"))], task, AgentResult(output="b it is"))
    assert verdict.feedback.startswith('right: The whole answer is the one word bike. expected "bike", found "b it is"')
    assert verdict.checks[0].reason.startswith("The whole answer is the one word bike.")
    assert grade([spec(right)], task, AgentResult(output="bike")).feedback == "All checks passed."
    plain, said = spec(has("a")), spec(has("a", message="Say a."))
    assert "message" not in plain.model_dump()["checks"][0]
    assert plain.content_hash != said.content_hash
    assert type(said).model_validate(said.model_dump()) == said
    for wrong in (3, "two\nlines", ["a"]):
        with pytest.raises(InputError, match="message is"):
            spec(has("a", message=wrong))


def test_a_perfect_check_has_no_reason():
    verdict = on(spec(has("a"), has("b")), "a")
    assert [check.reason == "" for check in verdict.checks] == [True, False]
    assert [check.id for check in verdict.failures] == ["contains-2"]


def test_an_output_of_none_is_graded_as_an_empty_text():
    assert on(spec({"type": "equals", "value": ""}), None).passed
    assert on(spec({"type": "max_length", "value": 0}), None).passed


def test_halves_of_surrogate_pairs_are_replaced_before_they_are_graded():
    assert "\ufffd" in on(spec({"type": "equals", "value": "x"}), "\ud800").feedback


def test_no_verifier_is_an_error_and_not_a_pass():
    with pytest.raises(GradingError, match="there is no verifier"):
        on([], "x")


WITH = Task(
    name="with", instruction="x", metadata={"expectations": {"mustMention": ["a"]}, "l": 1},
    expected_output="b", expected_output_schema={"required": ["a"]},
)  # fmt: skip


@pytest.mark.parametrize(
    ("check", "place"),
    [
        ({"type": "task_expectations"}, "metadata.expectations"),
        ({"type": "expected_output_schema"}, "expected_output_schema"),
        ({"type": "json_schema"}, "expected_output_schema"),
        ({"type": "equals", "from_metadata": "l"}, "metadata.l"),
        ({"type": "equals", "from_expected": "$"}, "expected_output"),
    ],
)
def test_a_check_with_nothing_to_grade_against_is_said_and_a_verifier_of_such_refused(check, place):
    mixed = spec(check, {"type": "json_valid"})
    sentence = f'verifier quality: the check "{check["type"]}" fits none of the 1 tasks: none has {place}'
    assert fits([mixed], [TASK]) == [sentence]
    assert fits([mixed], [TASK, WITH]) == []
    validate([mixed], [WITH])
    with pytest.raises(InputError, match=rf"verifier quality fits no task: none has {place}|has no {place}"):
        validate([spec(check)], [TASK])


def test_a_check_that_needs_nothing_of_the_task_fits_all():
    both = spec({"type": "json_schema", "schema": {}}, {"type": "json_valid"})
    assert fits([both], [TASK]) == []
    validate([both], [TASK])


def test_labels_that_some_tasks_lack_are_refused_with_the_tasks():
    tasks = [WITH, *(Task(name=f"n{n}", instruction="x") for n in range(8))]
    with pytest.raises(InputError) as caught:
        validate([spec({"type": "equals", "from_metadata": "l"})], tasks)
    assert str(caught.value) == (
        'verifier quality: check "equals": task "n0" has no metadata.l; add it to the task, or change the check '
        '(so too in "n1", "n2", "n3", "n4" and 3 more)'
    )


@pytest.mark.parametrize(
    ("check", "task", "sentence"),
    [
        ({"type": "task_expectations"}, {"metadata": {"expectations": [{"message": "x"}]}}, "it must be an object"),
        ({"type": "expected_output_schema"}, {"expected_output_schema": {"required": 1}}, "must be a list of keys"),
        ({"type": "json_schema"}, {"expected_output_schema": {"type": "no"}}, "is not a JSON Schema"),
        ({"type": "numeric_close", "from_metadata": "a"}, {"metadata": {"a": "x"}}, "needs a number"),
        ({"type": "similarity", "from_metadata": "a"}, {"metadata": {"a": []}}, "needs a text"),
        ({"type": "contains", "from_metadata": "a"}, {"metadata": {"a": ""}}, "is empty"),
        (
            {"type": "json_path_equals", "path": "a", "from_metadata": "a", "unordered": True},
            {"metadata": {"a": 1}},
            "lists",
        ),
        (
            {"type": "python", "function": "nowhere:check"},
            {},
            "verifier quality: the check's function nowhere:check cannot",
        ),
    ],
)
def test_what_could_not_be_graded_is_refused_before_anything_is_spent(check, task, sentence):
    with pytest.raises(InputError, match=sentence):
        validate([spec(check)], [Task(name="t", instruction="x", **task)])


def test_a_function_that_can_be_loaded_is_fine(own):
    validate([spec({"type": "python", "function": f"{own}:polite"})], [TASK])
