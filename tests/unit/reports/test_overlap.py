import pytest

from rollout_local.domain.dataset import Task
from rollout_local.reports.overlap import overlap

LEAK = "the boiler in building seven has been leaking since tuesday morning"


def task(name="t", **fields):
    return Task(name=name, **{"instruction": "Triage the message."} | fields)


def test_a_prompt_that_copies_a_training_input_is_said_to():
    prompt = f"Be brief. For example: {LEAK.upper()}!"
    found = overlap(prompt, [task("leak", input={"message": [f"Hello, {LEAK}, thanks"]}), task("other")])
    assert found["longest_ngram"] == 11
    assert found["copied_fraction"] == pytest.approx(11 / 15)
    assert found["examples"] == [{"task": "leak", "words": 11, "text": LEAK.upper()}]


def test_expected_outputs_count_as_well():
    found = overlap(LEAK, [task(expected_output={"reply": LEAK}), task("u", expected_output=7)])
    assert found["copied_fraction"] == 1.0


def test_an_instruction_that_all_tasks_share_is_not_a_tasks_own():
    shared = [task(str(i), instruction=LEAK) for i in range(2)]
    assert overlap(LEAK, shared)["longest_ngram"] == 0
    assert overlap(LEAK, shared[:1])["longest_ngram"] == 11


def test_short_runs_are_measured_and_not_called_copies():
    found = overlap("say that the boiler in building seven is fine", [task(input={"m": LEAK})])
    assert found == {"longest_ngram": 5, "copied_fraction": 0.0, "examples": []}


def test_no_more_than_three_examples_are_kept_and_none_within_another():
    words = [" ".join(f"w{i}x{j}" for j in range(8 + i)) for i in range(5)]
    prompt = " stop ".join(words)
    tasks = [task(f"t{i}", input={"m": text}) for i, text in enumerate(words)]
    tasks.append(task("part", input={"m": words[4][: words[4].rindex(" ")]}))
    found = overlap(prompt, tasks)
    assert [(e["task"], e["words"]) for e in found["examples"]] == [("t4", 12), ("t3", 11), ("t2", 10)]
    assert found["copied_fraction"] == pytest.approx(50 / 54)


def test_an_empty_prompt_copies_nothing():
    assert overlap("", [task(input={"m": LEAK})]) == {"longest_ngram": 0, "copied_fraction": 0.0, "examples": []}
    assert overlap("words", [])["longest_ngram"] == 0
