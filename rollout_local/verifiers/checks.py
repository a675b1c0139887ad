"""CHECKS: every check type in one literal table, with its parameters and an example that `verifiers checks` shows.

The first ten are hosted Rollout's, as documented; the rest are ours. A check is a function of the parameters and a
`Subject` that returns (score, reason): the score in [0, 1], the reason in words wherever the score is not 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rollout_local.domain.dataset import Task
from rollout_local.domain.target import AgentResult
from rollout_local.verifiers import json_checks, own_checks, rewards, task_checks, text_checks
from rollout_local.verifiers.judge import llm_judge
from rollout_local.verifiers.labels import label, label_number, label_text, phrase
from rollout_local.verifiers.params import Param
from rollout_local.verifiers.subject import Outcome, Params, Subject


@dataclass(frozen=True)
class CheckExample:
    """Parameters, a task, an output that scores 1 and one that does not."""

    params: Mapping[str, Any]
    good: AgentResult
    bad: AgentResult
    task: Task = field(default_factory=lambda: Task(name="example", instruction="Answer."))


@dataclass(frozen=True)
class CheckType:
    """One type of check.

    Of the parameters in `one_of` exactly one is given. `reads` is the place in a task that it grades against where
    no parameter names another; a task that has nothing there scores 1. `needs` is what it asks of every task, before
    anything is spent: it raises `GradingError` where a task does not have it. Unless `graded`, a score is 0 or 1.
    """

    summary: str
    run: Callable[[Params, Subject], Outcome]
    example: CheckExample
    params: Mapping[str, Param] = field(default_factory=dict)
    one_of: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    reads: Literal["", "metadata.expectations", "expected_output_schema"] = ""
    needs: Callable[[Params, Task], object] | None = None
    graded: bool = False
    grades: Literal["text", "output", "elsewhere"] = "text"
    """What a task's own expected output says of it: `text`, something only where that is a text; `output`, always;
    `elsewhere`, nothing: it grades what the result tells of itself, or by a model or a function.
    """
    asks_model: bool = False


def _example(params: Mapping[str, object], good: object, bad: object, **task: object) -> CheckExample:
    shown = Task.model_validate({"name": "example", "instruction": "Answer.", **task})
    return CheckExample(params, AgentResult(output=good), AgentResult(output=bad), shown)


_FROM = {
    "from_metadata": Param("path", "the value is at this path of the task's metadata, such as a.b[0]"),
    "from_expected": Param(
        "path", "the value is at this path of the task's expected output, such as a.b[0]; $: all of it"
    ),
}
_VALUE = ("value", "from_metadata", "from_expected")
_EQUALS = ("equals", "from_metadata", "from_expected")
_CASE = {"case_sensitive": Param("flag", "case counts", default=False)}
_PHRASE = {"value": Param("phrase", "what to look for", aliases=("text",)), **_FROM, **_CASE}

CHECKS: dict[str, CheckType] = {
    "task_expectations": CheckType(
        "the share of the task's metadata.expectations (mustMention, mustNotMention) that hold",
        task_checks.task_expectations,
        _example(
            {},
            "You have 30 days.",
            "Sorry.",
            metadata={"expectations": {"mustMention": [{"anyOf": ["30 days", "a month"], "message": "the window"}]}},
        ),
        reads="metadata.expectations",
        graded=True,
        grades="elsewhere",
        needs=lambda _, task: task_checks.read_expectations(task),
    ),
    "contains": CheckType(
        "the output contains a text",
        text_checks.contains,
        _example({"value": "30 days"}, "Within 30 Days.", "Within a month."),
        params=_PHRASE,
        one_of=_VALUE,
        aliases=("must_contain",),
        needs=phrase,
    ),
    "not_contains": CheckType(
        "the output does not contain a text",
        text_checks.not_contains,
        _example({"value": "guarantee"}, "We will try.", "That is a guarantee of ours."),
        params=_PHRASE,
        one_of=_VALUE,
        aliases=("must_not_contain",),
        needs=phrase,
    ),
    "regex": CheckType(
        "a regular expression finds something in the output (Python's re.search)",
        text_checks.matches,
        _example({"pattern": r"\bRMA-\d{4}\b"}, "Use RMA-1234.", "Use RMA-12."),
        params={"pattern": Param("pattern", "the regular expression", required=True)},
        grades="output",
    ),
    "equals": CheckType(
        "the output equals a text, both trimmed; a value that is no text is compared as JSON",
        text_checks.equals,
        _example({"value": "yes"}, " Yes\n", "Yes, sure."),
        params={"value": Param("json", "what the output must be"), **_FROM, **_CASE},
        one_of=_VALUE,
        aliases=("exact_match",),
        needs=label,
    ),
    "min_length": CheckType(
        "the output has at least so many characters",
        text_checks.min_length,
        _example({"value": 5}, "Enough.", "No."),
        params={"value": Param("count", "characters", required=True)},
        grades="output",
    ),
    "max_length": CheckType(
        "the output has at most so many characters",
        text_checks.max_length,
        _example({"value": 5}, "Short", "Too long."),
        params={"value": Param("count", "characters", required=True)},
        grades="output",
    ),
    "json_valid": CheckType(
        "the output is JSON, with nothing around it",
        json_checks.json_valid,
        _example({}, '{"urgency": "high"}', "Sure! Here you are: {}"),
        grades="output",
    ),
    "json_keys": CheckType(
        "the output is a JSON object that has every key",
        json_checks.json_keys,
        _example({"keys": ["urgency"]}, '{"urgency": "high"}', '{"priority": 1}'),
        params={"keys": Param("keys", "the keys", required=True, aliases=("required_keys",))},
        grades="output",
    ),
    "expected_output_schema": CheckType(
        "the output is a JSON object with the required keys of the task's expected output schema",
        json_checks.expected_output_schema,
        _example({}, '{"x": 1}', '{"y": 1}', expected_output_schema={"type": "object", "required": ["x"]}),
        reads="expected_output_schema",
        grades="output",
        needs=lambda _, task: json_checks.required_keys(task),
    ),
    "json_path_equals": CheckType(
        "the value at a path of the output as JSON equals the expected one; unordered lists score by F1",
        json_checks.json_path_equals,
        _example(
            {"path": "a.b[0]", "from_expected": "b"}, '{"a": {"b": ["High"]}}', "{}", expected_output={"b": "high"}
        ),
        params={
            "path": Param("path", "where in the output, such as a.b[0]", required=True),
            "equals": Param("json", "the expected value", aliases=("value",)),
            "unordered": Param("flag", "compare lists as sets, scored by F1", default=False),
            **_FROM,
            **_CASE,
        },
        one_of=_EQUALS,
        graded=True,
        grades="output",
        needs=json_checks.expected_value,
    ),
    "json_schema": CheckType(
        "the output is JSON that a JSON Schema accepts, the check's own or the task's expected output schema",
        json_checks.json_schema,
        _example({"schema": {"type": "object", "required": ["x"]}}, '{"x": 1}', "{}"),
        params={"schema": Param("schema", "the schema; without one, the task's")},
        reads="expected_output_schema",
        grades="output",
        needs=json_checks.need_schema,
    ),
    "numeric_close": CheckType(
        "a number is close to the expected one: at a path of the output as JSON, or the last in the text",
        text_checks.numeric_close,
        _example({"value": 1200, "abs_tol": 0.5}, "That makes 1,200.25 in all.", "About 1300."),
        params={
            "value": Param("number", "the expected number"),
            "path": Param("path", "where in the output as JSON; without one, the last number in the text"),
            "abs_tol": Param("tolerance", "allowed difference", default=1e-6, aliases=("tolerance", "abs")),
            "rel_tol": Param("tolerance", "allowed share of the expected number", default=0, aliases=("rel",)),
            **_FROM,
        },
        one_of=_VALUE,
        needs=label_number,
    ),
    "similarity": CheckType(
        "how much of the output is like a text, from 0 to 1 (difflib's ratio)",
        text_checks.similarity,
        _example({"value": "abc"}, "ABC", "xyz"),
        params={"value": Param("phrase", "the text"), **_FROM, **_CASE},
        one_of=_VALUE,
        graded=True,
        needs=label_text,
    ),
    "python": CheckType(
        "a function of yours, called with (task, output); it returns a score or (score, feedback)",
        own_checks.python,
        _example({"function": "app.checks:polite"}, "Thank you.", "No."),
        params={"function": Param("function", '"module:function"', required=True)},
        graded=True,
        grades="elsewhere",
    ),
    "tool_called": CheckType(
        'the result reports a call of a tool in metadata["tool_calls"]',
        task_checks.tool_called,
        CheckExample(
            {"name": "lookup_order"},
            AgentResult(output="", metadata={"tool_calls": [{"name": "lookup_order"}]}),
            AgentResult(output="", metadata={"tool_calls": []}),
        ),
        params={"name": Param("text", "the tool", required=True, aliases=("tool",))},
        grades="elsewhere",
    ),
    rewards.CHECK_TYPE: CheckType(
        "a reward recipe of optimization jobs (exact_match_v1, contains_v1, row_reward_v1, …) with its parameters",
        rewards.reward,
        _example({"recipe": "exact_match_v1"}, " yes\n", "Yes.", expected_output="yes"),
        params={
            "recipe": Param("text", f"one of {', '.join(rewards.REWARDS)}", required=True),
            "expected": Param("json", "the expected text; without one, the task's expected output"),
            "needle": Param("json", "contains_v1: what the output must contain"),
            "reward_if_true": Param("number", "the reward of a match, from 0 to 1"),
            "reward_if_false": Param("number", "the reward of a miss, from 0 to 1"),
            "default": Param("number", "row_reward_v1: the reward of a row without one"),
        },
        graded=True,
        needs=rewards.require_task,
    ),
    "llm_judge": CheckType(
        "a model grades the output by a criterion in words",
        llm_judge,
        _example({"prompt": "Is it polite?", "model": "openai/gpt-4.1-mini"}, "Thank you.", "No."),
        params={
            "prompt": Param("text", "the criterion", required=True),
            "model": Param("text", "the model that grades", required=True),
            "api_base": Param("address", "the address of a local server; a secret in it is written as $VARIABLE"),
            "parameters": Param(
                "parameters", "the model's parameters; a secret is written as $VARIABLE", default={"temperature": 0}
            ),
        },
        graded=True,
        grades="elsewhere",
        asks_model=True,
    ),
}
"""Check type → what it does."""

ALIASES: dict[str, str] = {alias: name for name, check in CHECKS.items() for alias in check.aliases}
"""Other names of check types."""
