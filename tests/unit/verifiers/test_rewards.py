import pytest

from rollout_local.domain.dataset import Task
from rollout_local.domain.target import AgentResult
from rollout_local.domain.verdict import VerifierSpec
from rollout_local.errors import GradingError, InputError
from rollout_local.verifiers.rewards import REWARDS, as_spec, number_in, require_dataset, require_task, reward
from rollout_local.verifiers.subject import Subject

UNGRADABLE = object()


def run(recipe, params, output, expected=None, own=None):
    metadata = {} if own is None else {"reward": own}
    task = Task(name="t", instruction="x", expected_output=expected, metadata=metadata)
    return reward({"recipe": recipe, **params}, Subject(task, AgentResult(output=output)))


def check(recipe, params, output, expected, own, score, says):
    if score is UNGRADABLE:
        with pytest.raises(GradingError, match=says):
            run(recipe, params, output, expected, own)
        return
    found, reason = run(recipe, params, output, expected, own)
    assert found == score
    assert (reason == "") == (score == 1.0)
    assert says in reason


@pytest.mark.parametrize(
    ("params", "output", "expected", "score", "says"),
    [
        ({}, "yes", "yes", 1.0, ""),
        ({}, "  yes\n", "yes", 1.0, ""),
        ({}, "yes", " yes ", 1.0, ""),
        ({}, "Yes", "yes", 0.0, 'expected "yes", found "Yes"; only the case differs'),
        ({}, "a  b", "a b", 0.0, "they part at character 3"),
        ({}, "yes, sure", "yes", 0.0, 'expected the end, found ", sure"'),
        ({}, "", "yes", 0.0, 'expected "yes", the output is empty'),
        ({}, "", "   ", 1.0, ""),
        ({}, " \n", "", 1.0, ""),
        ({"expected": "no"}, "no", "yes", 1.0, ""),
        ({"expected": "no"}, "yes", "yes", 0.0, 'expected "no"'),
        ({"expected": ""}, "yes", "yes", 1.0, ""),
        ({"expected": "  "}, "", "yes", 1.0, ""),
        ({"expected": "no"}, "no", None, 1.0, ""),
        ({}, None, "yes", 0.0, "the output is empty"),
        ({}, {"a": 1}, '{"a":1}', 1.0, ""),
        ({}, "42", 42, UNGRADABLE, "has a number as expected_output, which counts as none"),
        ({}, "yes", None, UNGRADABLE, "has no expected_output"),
        ({}, "yes", ["yes"], UNGRADABLE, "has a list as expected_output"),
    ],
)
def test_exact_match_compares_both_texts_stripped_at_their_ends(params, output, expected, score, says):
    check("exact_match_v1", params, output, expected, None, score, says)


@pytest.mark.parametrize(
    ("params", "output", "expected", "score", "says"),
    [
        ({"needle": "30 days"}, "Within 30 days.", None, 1.0, ""),
        ({"needle": "30 days"}, "Within 30 Days.", None, 0.0, "it has it in other letters, and case counts"),
        ({"needle": "30 days"}, "Within a month.", "30 days", 0.0, 'found "Within a month."'),
        ({"needle": "x"}, "", None, 0.0, 'does not contain "x"; the output is empty'),
        ({"needle": "x"}, None, None, 0.0, "the output is empty"),
        ({"needle": " x "}, "a x b", None, 1.0, ""),
        ({"needle": " x "}, "x", None, 0.0, 'does not contain " x "'),
        ({"needle": " "}, "a b", None, 1.0, ""),
        ({"needle": "\n"}, "a\n", None, 1.0, ""),
        ({"needle": "x", "reward_if_true": 0.5}, "x", None, 0.5, 'contains "x", which earns 0.5'),
        ({"needle": "x", "reward_if_false": 0.25}, "y", None, 0.25, "does not contain"),
        ({"needle": "x", "reward_if_true": 0, "reward_if_false": 1}, "x", None, 0.0, "which earns 0; leave it out"),
        ({"needle": "x", "reward_if_true": 0, "reward_if_false": 1}, "y", None, 1.0, ""),
        ({"needle": "no"}, "yes", "no", 0.0, 'found "yes"'),
        ({}, "x", "x", UNGRADABLE, "has no needle"),
        ({"needle": ""}, "x", None, UNGRADABLE, "has no needle"),
        ({"needle": 3}, "3", None, UNGRADABLE, "has no needle"),
    ],
)
def test_contains_looks_for_the_needle_in_the_raw_output_and_reads_no_row(params, output, expected, score, says):
    check("contains_v1", params, output, expected, None, score, says)


@pytest.mark.parametrize(
    ("params", "output", "own", "score", "says"),
    [
        ({}, "x", 0.5, 0.5, "the row's own reward is 0.5, whatever the output says"),
        ({}, "x", 1, 1.0, ""),
        ({}, "x", 1.0, 1.0, ""),
        ({}, "x", 0.0, 0.0, "the row's own reward is 0"),
        ({"default": 0.75}, "x", 0.0, 0.0, "the row's own reward is 0"),
        ({}, "x", None, 0.0, "the row has no reward, and the default is 0"),
        ({"default": 0.75}, "x", None, 0.75, "the default is 0.75"),
        ({"default": 1}, "x", None, 1.0, ""),
        ({"default": 0.75}, "x", "0.5", 0.75, "the default is 0.75"),
        ({"default": 0.75}, "x", True, 0.75, "the default is 0.75"),
        ({}, "", 0.25, 0.25, "0.25"),
        ({}, None, 0.25, 0.25, "0.25"),
        ({}, "x", 2.0, UNGRADABLE, "has the reward 2; a reward here is a number from 0 to 1"),
        ({}, "x", -1, UNGRADABLE, "has the reward -1"),
    ],
)
def test_row_reward_is_the_rows_own_and_ignores_the_output(params, output, own, score, says):
    check("row_reward_v1", params, output, "anything", own, score, says)


@pytest.mark.parametrize(
    ("params", "output", "expected", "own", "score", "says"),
    [
        ({}, "yes", "yes", None, 1.0, ""),
        ({}, " yes ", "yes\n", None, 1.0, ""),
        ({}, "Yes", "yes", None, 0.0, "only the case differs"),
        ({}, "no", "yes", None, 0.0, 'expected "yes", found "no"'),
        ({}, "yes", "yes", 0.5, 0.5, "the row's reward for a match is 0.5"),
        ({"reward_if_true": 0.75}, "yes", "yes", 0.5, 0.5, "the row's reward"),
        ({"reward_if_true": 0.75}, "yes", "yes", None, 0.75, "a match earns 0.75"),
        ({}, "yes", "yes", 0.0, 0.0, "the row's reward for a match is 0"),
        ({}, "no", "yes", 0.5, 0.0, 'found "no"'),
        ({"reward_if_false": 0.25}, "no", "yes", 1.0, 0.25, 'found "no"'),
        ({"reward_if_false": 1.0}, "no", "yes", None, 1.0, ""),
        ({"expected": "no"}, "no", "yes", None, 1.0, ""),
        ({}, "", " ", None, 1.0, ""),
        ({}, "yes", "yes", "0.5", 1.0, ""),
        ({}, "yes", None, 1.0, UNGRADABLE, "has no expected_output"),
        ({}, "yes", "yes", 2.0, UNGRADABLE, "has the reward 2"),
    ],
)
def test_trajectory_imitation_compares_the_final_text_alone(params, output, expected, own, score, says):
    check("trajectory_imitation_v1", params, output, expected, own, score, says)


@pytest.mark.parametrize(
    ("params", "output", "expected", "score", "says"),
    [
        ({}, "It is 18.\n#### 18", "He pays 3 * 6.\n#### 18", 1.0, ""),
        ({}, "18", "#### 18", 1.0, ""),
        ({}, "The answer is 18 dollars.", "18", 1.0, ""),
        ({}, "#### 1,200", "1200", 1.0, ""),
        ({}, "#### 3 and then #### 4, or 5", "4", 1.0, ""),
        ({}, "#### 3, that is 4", "4", 0.0, 'expected the number 4, found 3 (the last "#### n" of the output)'),
        ({}, "first 7, then 8", "7", 0.0, "expected the number 7, found 8 (the last number of the output)"),
        ({}, "-3", "-3", 1.0, ""),
        ({}, "3", "-3", 0.0, "expected the number -3, found 3"),
        ({}, "10-3", "3", 1.0, ""),
        ({}, "0.3000001", "0.3", 1.0, ""),
        ({}, "0.30001", "0.3", 0.0, "expected the number 0.3, found 0.30001"),
        ({}, "It costs $1,200.50.", "#### 1200.5", 1.0, ""),
        ({}, "none", "4", 0.0, "expected the number 4, found none; end with #### and the number"),
        ({}, "", "4", 0.0, "found none"),
        ({}, "9" * 400, "4", 0.0, "found none"),
        ({"expected": "#### 5"}, "5", "4", 1.0, ""),
        ({"reward_if_true": 0.5}, "4", "4", 0.5, "the number is right, which earns 0.5"),
        ({"reward_if_false": 0.25}, "5", "4", 0.25, "found 5"),
        ({"reward_if_false": 1.0}, "5", "4", 1.0, ""),
        ({}, "4", "four", UNGRADABLE, 'the expected text "four" has no number'),
        ({}, "4", None, UNGRADABLE, "has no expected_output"),
        ({}, "4", 4, UNGRADABLE, "has a number as expected_output"),
    ],
)
def test_gsm8k_compares_the_last_marked_number_or_else_the_last_number(params, output, expected, score, says):
    check("gsm8k_v1", params, output, expected, None, score, says)


def test_numbers_are_read_as_people_write_them():
    found = {text: number_in(text) for text in ("#### -1,000.5", ".5", "x=-5", "a3", "3 - 5", "3 apples.", "####\n8")}
    assert found == {
        "#### -1,000.5": -1000.5, ".5": 0.5, "x=-5": -5.0, "a3": 3.0, "3 - 5": 5.0, "3 apples.": 3.0, "####\n8": 8.0,
    }  # fmt: skip


def test_a_recipe_is_a_verifier_of_one_check_and_says_no_default():
    spec = as_spec("contains_v1", {"needle": "x", "reward_if_true": 1})
    assert isinstance(spec, VerifierSpec)
    (made,) = spec.checks
    assert (spec.id, made.type, made.id) == ("contains_v1", "reward", "contains_v1")
    assert made.params == {"recipe": "contains_v1", "needle": "x"}
    assert as_spec("exact_match_v1").checks[0].params == {"recipe": "exact_match_v1"}
    assert as_spec("exact_match_v1", {"expected": ""}) == as_spec("exact_match_v1")
    assert as_spec("exact_match_v1", {"expected": "a"}).content_hash != as_spec("exact_match_v1").content_hash


@pytest.mark.parametrize(
    ("recipe", "params", "says"),
    [
        ("exact_match", {}, "there is no reward 'exact_match'; did you mean \"exact_match_v1\"?"),
        ("task_verifier_v1", {}, "there is no reward 'task_verifier_v1'; "),
        ("exact_match_v1", {"needle": "x"}, "has no parameter 'needle'; known are expected"),
        (
            "exact_match_v1",
            {"expected": 3},
            "the parameter expected of the reward exact_match_v1 is 3; it must be a text",
        ),
        ("contains_v1", {}, "needs the parameter needle"),
        ("contains_v1", {"needle": ""}, "needs the parameter needle"),
        (
            "contains_v1",
            {"needle": "x", "reward_if_true": 5},
            "reward_if_true of the reward contains_v1 is 5; a reward",
        ),
        ("contains_v1", {"needle": "x", "reward_if_false": -1}, "is -1; a reward here is a number from 0 to 1"),
        ("row_reward_v1", {"default": True}, "is true; a reward"),
        ("row_reward_v1", {"default": float("nan")}, "a reward here"),
        ("row_reward_v1", {"default": "0"}, 'is "0"; a reward'),
    ],
)
def test_wrong_recipes_and_parameters_are_refused_by_name(recipe, params, says):
    with pytest.raises(InputError) as caught:
        as_spec(recipe, params)
    assert says in str(caught.value)


def rows(*expected, own=None):
    metadata = {} if own is None else {"reward": own}
    return [Task(name=f"t{n}", instruction="x", expected_output=e, metadata=metadata) for n, e in enumerate(expected)]


@pytest.mark.parametrize(
    ("recipe", "params", "tasks", "says"),
    [
        ("exact_match_v1", {}, rows("a", None), 'cannot grade this dataset: task "t1" has no expected_output'),
        ("exact_match_v1", {}, rows(*[None] * 8), 'so too in "t1", "t2", "t3", "t4" and 3 more'),
        ("gsm8k_v1", {}, rows("4", "four"), 'task "t1": the expected text "four" has no number'),
        ("trajectory_imitation_v1", {}, rows("a", own=3), 'task "t0" has the reward 3'),
        ("row_reward_v1", {}, rows("a"), "row_reward_v1 cannot improve the router prompt: its score is the row's own"),
        ("row_reward_v1", {"default": 1.0}, rows("a"), "--allow-constant-reward"),
        (
            "contains_v1", {"needle": "x", "reward_if_true": 0}, rows("a"),
            "contains_v1 cannot improve the router prompt: it gives 0 for right and wrong alike",
        ),
    ],
)  # fmt: skip
def test_a_dataset_that_a_recipe_cannot_grade_is_refused_before_a_call_is_spent(recipe, params, tasks, says):
    with pytest.raises(InputError) as caught:
        require_dataset(recipe, params, tasks, "router_prompt")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("recipe", "params", "tasks"),
    [
        ("exact_match_v1", {}, rows("a", "")),
        ("exact_match_v1", {"expected": "a"}, rows(None, 3)),
        ("contains_v1", {"needle": "a"}, rows(None)),
        ("gsm8k_v1", {}, rows("#### 3")),
        ("trajectory_imitation_v1", {}, rows("a", own=0.5)),
    ],
)
def test_a_dataset_that_fits_is_let_through(recipe, params, tasks):
    require_dataset(recipe, params, tasks, "agent")


def test_a_constant_reward_is_let_through_when_it_is_allowed_and_its_rewards_are_in_range():
    require_dataset("row_reward_v1", {}, rows("a", own=0.5), "agent", allow_constant=True)
    with pytest.raises(InputError, match="has the reward 2"):
        require_dataset("row_reward_v1", {}, rows("a", own=2), "agent", allow_constant=True)


def test_a_single_task_is_checked_as_a_verifier_does():
    require_task({"recipe": "contains_v1", "needle": "x"}, Task(name="t", instruction="x"))
    with pytest.raises(GradingError, match="has no expected_output"):
        require_task({"recipe": "exact_match_v1"}, Task(name="t", instruction="x"))
    with pytest.raises(InputError, match="there is no reward"):
        require_task({"recipe": "x"}, Task(name="t", instruction="x"))


def test_every_recipe_says_what_it_does_and_gives_feedback_wherever_it_is_not_perfect():
    assert list(REWARDS) == [
        "exact_match_v1", "contains_v1", "row_reward_v1", "trajectory_imitation_v1", "gsm8k_v1",
    ]  # fmt: skip
    for recipe in REWARDS.values():
        assert recipe.summary
