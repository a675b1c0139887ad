from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rollout_local.errors import InputError
from rollout_local.simulator import load_script
from rollout_local.simulator.script import Reflection


def _load(tmp_path: Path, text: Any) -> Any:
    path = tmp_path / "script.json"
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    return load_script(path)


def test_the_built_in_script_has_a_student_and_four_reflection_models() -> None:
    script = load_script(None)
    replies = {name: rules.reply for name, rules in script.models.items() if isinstance(rules, Reflection)}
    assert replies == {
        "sim-reflection": "json",
        "sim-reflection-plain": "plain",
        "sim-reflection-fenced": "fenced",
        "sim-reflection-rubbish": "rubbish",
    }
    student = script.find("sim-student-7b")
    assert student is not None
    assert student.role == "student"
    assert script.find("gpt") is None


def test_an_exact_name_goes_before_a_pattern(tmp_path: Path) -> None:
    models = {"a*": {"role": "student", "about": "pattern"}, "ab": {"role": "student", "about": "exact"}}
    found = _load(tmp_path, {"models": models}).find("ab")
    assert found.about == "exact"


def test_a_model_may_extend_another_one_or_a_built_in_one(tmp_path: Path) -> None:
    models = {
        "mine": {"extends": "sim-reflection", "max_new": 1},
        "worse": {"extends": "mine", "reply": "plain"},
        "sim-student*": {"role": "student", "follow": 3},
        "weak": {"extends": "sim-student*"},
    }
    script = _load(tmp_path, {"models": models})
    worse = script.find("worse")
    assert (worse.max_new, worse.reply) == (1, "plain")
    assert worse.lessons == load_script(None).find("sim-reflection").lessons  # type: ignore[union-attr]
    assert script.find("weak").follow == 3


LESSON = {"pattern": "say <quoted:x>", "template": "{x}"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", [":1:", "not valid JSON"]),
        ("[]", ["a JSON object"]),
        ({}, ["models", "Field required"]),
        ({"models": {}}, ["models", "at least 1"]),
        ({"models": {"a": 3}}, ["models.a"]),
        ({"models": {"a": {"role": "teacher"}}}, ["models.a", "student"]),
        ({"models": {"a": {"role": "student", "fieds": []}}}, ["models.a.student.fieds", "script.py"]),
        ({"models": {"a": {"role": "student", "json_when": "("}}}, ["json_when", "not a regular expression"]),
        ({"models": {"a": {"role": "student", "json_when": 3}}}, ["json_when"]),
        (
            {"models": {"a": {"role": "student", "fields": [{"key": "k", "labels": [], "default": "x"}]}}},
            ["'x'", "'k'"],
        ),
        ({"models": {"a": {"role": "student", "slips": [{"kind": "drop", "rate": 2}]}}}, ["slips.0.rate"]),
        ({"models": {"a": {"extends": "b"}}}, ["models.a.extends", "built-in", "sim-student"]),
        ({"models": {"a": {"extends": "b"}, "b": {"extends": "a"}}}, ["extends itself"]),
        ({"models": {"a": {"role": "reflection", "lessons": [{**LESSON, "template": "{y}"}]}}}, ["'y'", "lessons.0"]),
        ({"models": {"a": {"role": "reflection", "lessons": [{**LESSON, "merge": "z"}]}}}, ["'z'"]),
        (
            {"models": {"a": {"role": "reflection", "lessons": [{**LESSON, "merge": "x", "condition": "auto"}]}}},
            ["either merge or a condition"],
        ),
    ],
)
def test_a_wrong_script_is_refused_with_file_and_field(tmp_path: Path, text: Any, words: list[str]) -> None:
    with pytest.raises(InputError) as refused:
        _load(tmp_path, text)
    assert all(word in str(refused.value) for word in [*words, "script.json"])


def test_a_script_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json: the script cannot be read"):
        load_script(tmp_path / "none.json")
