"""Every check type: what it accepts, and the words for what it does not."""

import inspect
from typing import get_type_hints

import pytest

from rollout_local.domain.dataset import Task
from rollout_local.domain.target import AgentResult
from rollout_local.errors import InputError
from rollout_local.verifiers import json_checks, own_checks, task_checks, text_checks
from rollout_local.verifiers.checks import ALIASES, CHECKS
from rollout_local.verifiers.grade import GradingError, grade, parse_spec, validate
from rollout_local.verifiers.params import KINDS
from rollout_local.verifiers.subject import Outcome, Subject
from rollout_local.verifiers.text_checks import alike

DOCUMENTED = {
    "task_expectations": (), "contains": ("must_contain",), "not_contains": ("must_not_contain",), "regex": (),
    "equals": ("exact_match",), "min_length": (), "max_length": (), "json_valid": (), "json_keys": (),
    "expected_output_schema": (),
}  # fmt: skip


def test_the_documented_types_are_all_there_with_their_aliases():
    assert [*CHECKS][: len(DOCUMENTED)] == [*DOCUMENTED]
    assert {name: CHECKS[name].aliases for name in DOCUMENTED} == DOCUMENTED


@pytest.mark.parametrize("name", CHECKS)
def test_every_type_is_documented(name):
    check = CHECKS[name]
    assert check.summary
    assert not check.summary.endswith(".")
    assert (check.run.__doc__ or "").strip()
    for param in check.params.values():
        assert param.summary
        assert param.kind in KINDS
    assert set(check.one_of) <= set(check.params)


def is_check(function):
    return inspect.isfunction(function) and list(get_type_hints(function).values())[-2:] == [Subject, Outcome]


@pytest.mark.parametrize("module", [json_checks, own_checks, task_checks, text_checks], ids=lambda m: m.__name__)
def test_every_check_that_is_written_has_a_row(module):
    public = {name: found for name, found in vars(module).items() if not name.startswith("_")}
    written = {name: found for name, found in public.items() if is_check(found) and found.__module__ == module.__name__}
    rows = {check.run for check in CHECKS.values()}
    assert written
    assert [name for name, found in written.items() if found not in rows] == []


NOTHING = object()
LABELS = {"a text": "x", "an empty text": "", "a number": 5, "a truth": True, "null": None, "a list": ["x"],
          "an object": {"a": 1}, "half a pattern": "[", "nothing": NOTHING}  # fmt: skip


@pytest.mark.parametrize("value", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize("place", ["from_metadata", "from_expected"])
@pytest.mark.parametrize("name", [name for name, check in CHECKS.items() if "from_metadata" in check.params])
def test_a_label_that_cannot_be_graded_against_is_refused_before_anything_is_spent(name, place, value):
    """By `needs` of the check's row."""
    own = {key: given for key, given in CHECKS[name].example.params.items() if key not in CHECKS[name].one_of}
    spec = parse_spec({"checks": [{"type": name, **own, place: "l"}]}, "quality", "example")
    good, other = ({"l": "7"}, {} if value is NOTHING else {"l": value})
    tasks = [Task(name=str(n), instruction="x", metadata=m, expected_output=m) for n, m in enumerate((good, other))]
    try:
        grade([spec], tasks[1], AgentResult(output="7"))
    except GradingError:
        with pytest.raises(InputError):
            validate([spec], tasks)
    else:
        validate([spec], tasks)


@pytest.mark.parametrize("name", [*CHECKS, *ALIASES])
def test_the_example_of_every_type_tells_good_from_bad(name, own, judge):
    example = CHECKS[ALIASES.get(name, name)].example
    spec = parse_spec({"checks": [{"type": name, "params": dict(example.params)}]}, "quality", "example")
    good = grade([spec], example.task, example.good, judge)
    assert (good.score, good.passed, good.feedback) == (1.0, True, "All checks passed.")
    bad = grade([spec], example.task, example.bad, judge)
    assert bad.score < 1.0
    assert not bad.passed
    assert bad.failures[0].reason in bad.feedback
    assert bad.failures[0].reason


@pytest.mark.parametrize("name", [name for name in CHECKS if name != "python"])
@pytest.mark.parametrize(
    "output",
    [
        None, "", "\0", "\ud800", "\u202eשלום", {"a": "\udfff"}, ["\ud800"], float("nan"), float("inf"),
        '{"a": NaN}', '"\\ud800"', '{"\\ud800": "\\ud800"}', "1e999", "[" * 1000 + "]" * 1000, "[" * 100_000,
        b"bytes", object, 10**5000, -1, True, "9" * 5000, {1: {2: 3}}, '{"a": {"b": "x"}, "x": 1e999}',
    ],
    ids=lambda value: str(type(value).__name__),
)  # fmt: skip
def test_no_output_is_too_odd_to_be_graded_and_the_words_can_be_stored(name, output, judge):
    example = CHECKS[name].example
    spec = parse_spec({"checks": [{"type": name, **example.params}]}, "quality", "example")
    verdict = grade([spec], example.task, AgentResult(output=output), judge)
    assert 0.0 <= verdict.score <= 1.0
    verdict.feedback.encode("utf-8")
    assert len(verdict.feedback) < 2000


def test_an_output_nested_a_thousand_levels_deep_is_graded(graded):
    deep = []
    for _ in range(1000):
        deep = [deep]
    assert graded({"type": "json_valid"}, deep).feedback.startswith(
        "json_valid: the output is not valid JSON: Expecting"
    )
    text = "[" * 1000 + "]" * 1000
    assert "it nests more than 200 levels deep; it starts with" in graded({"type": "json_valid"}, text).feedback
    assert graded({"type": "json_valid"}, "[" * 200 + "]" * 200).passed
    assert not graded({"type": "json_valid"}, "[" * 202 + "]" * 202).passed


@pytest.mark.parametrize("name", [name for name in CHECKS if name not in {"python", "llm_judge"}])
def test_ten_megabytes_are_graded_and_quoted_in_short(name):
    example = CHECKS[name].example
    spec = parse_spec({"checks": [{"type": name, **example.params}]}, "quality", "example")
    output = AgentResult(output="lorem ipsum " * 900_000)
    assert len(grade([spec], example.task, output).feedback) < 1000


LABELS = {"metadata": {"l": "high", "n": 5, "list": ["a", "b"], "none": None, "empty": ""}}


@pytest.mark.parametrize(
    ("check", "output", "feedback"),
    [
        (
            {"type": "contains", "value": "30 days"},
            "no",
            'contains: expected the output to contain "30 days"; it does not',
        ),
        ({"type": "contains", "text": 30}, "no", 'contains: expected the output to contain "30"; it does not'),
        (
            {"type": "must_contain", "text": "a", "caseSensitive": True},
            "A",
            'contains: expected the output to contain "a"; it does not',
        ),
        (
            {"type": "contains", "from_metadata": "l"},
            "low",
            'contains: expected the output to contain "high"; it does not',
        ),
        (
            {"type": "not_contains", "value": "guarantee"},
            "We give you a Guarantee of quality, always.",
            (
                'not_contains: the output must not contain "guarantee", but it does: '
                '"We give you a Guarantee of quality, always."'
            ),
        ),
        (
            {"type": "not_contains", "value": "guarantee"},
            "x" * 30 + "a guarantee of" + "y" * 30,
            (
                'not_contains: the output must not contain "guarantee", but it does: '
                f'"…{"x" * 18}a guarantee of{"y" * 17}…"'
            ),
        ),
        (
            {"type": "not_contains", "value": "s"},
            "ß",
            'not_contains: the output must not contain "s", but it does: "ss"',
        ),
        ({"type": "regex", "pattern": r"RMA-\d+"}, "none/", r"regex: nothing in the output matches /RMA-\d+/"),
        (
            {"type": "equals", "value": "yes"},
            "Yes, sure.",
            'equals: expected "yes", found "Yes, sure."; they part at character 4: expected the end, found ", sure."',
        ),
        (
            {"type": "equals", "value": "Yes", "caseSensitive": True},
            "yes",
            'equals: expected "Yes", found "yes"',
        ),
        (
            {"type": "equals", "value": "a" * 300},
            "a" * 250 + "b" * 50,
            (
                f'equals: expected "{"a" * 200}…", found "{"a" * 200}…"; '
                f'they part at character 251: expected "{"a" * 20}…", found "{"b" * 20}…"'
            ),
        ),
        (
            {"type": "equals", "value": ""},
            "x",
            'equals: expected "", found "x"',
        ),
        ({"type": "equals", "value": {"a": 1}}, '{"a": 2}', 'equals: expected {"a": 1}, found {"a": 2}'),
        ({"type": "equals", "value": 5}, "five", 'equals: expected 5, found "five"'),
        ({"type": "equals", "from_metadata": "n"}, "6", "equals: expected 5, found 6"),
        (
            {"type": "min_length", "value": 40},
            "x" * 12,
            "min_length: the output has 12 characters, at least 40 are needed",
        ),
        (
            {"type": "max_length", "value": 2},
            "x" * 12,
            "max_length: the output has 12 characters, at most 2 are allowed",
        ),
        (
            {"type": "json_valid"},
            "Sure! Here is the JSON that you have asked for: {}",
            (
                "json_valid: the output is not valid JSON: Expecting value at line 1 column 1; "
                'it starts with "Sure! Here is the JSON that you have ask…"'
            ),
        ),
        (
            {"type": "json_valid"},
            None,
            "json_valid: the output is not valid JSON: Expecting value at line 1 column 1; it is empty",
        ),
        (
            {"type": "json_valid"},
            "NaN",
            'json_valid: the output is not valid JSON: NaN is no JSON value; it starts with "NaN"',
        ),
        (
            {"type": "json_keys", "requiredKeys": ["urgency", "sentiment"]},
            '{"priority": 1}',
            'json_keys: the JSON object lacks the keys "urgency", "sentiment" (it has "priority")',
        ),
        ({"type": "json_keys", "keys": ["a"]}, "{}", 'json_keys: the JSON object lacks the keys "a" (it is empty)'),
        (
            {"type": "json_keys", "keys": ["a", "b"]},
            "no",
            'json_keys: expected a JSON object with the keys "a", "b"; the output is not valid JSON',
        ),
        (
            {"type": "json_keys", "keys": ["a"]},
            "[]",
            'json_keys: expected a JSON object with the keys "a"; the output is JSON, but a list',
        ),
        (
            {"type": "json_keys", "keys": ["a"]},
            "null",
            'json_keys: expected a JSON object with the keys "a"; the output is JSON, but null',
        ),
        (
            {"type": "json_path_equals", "path": "urgency", "equals": "high"},
            '{"urgency": "urgent"}',
            'json_path_equals urgency: expected "high", found "urgent"',
        ),
        (
            {"type": "json_path_equals", "path": "urgency", "equals": "high"},
            "{}",
            'json_path_equals urgency: expected "high", found nothing at that path',
        ),
        (
            {"type": "json_path_equals", "path": "x", "equals": 1},
            '{"x": 1e999}',
            "json_path_equals x: expected 1, found Infinity",
        ),
        (
            {"type": "json_path_equals", "path": "urgency", "equals": "high"},
            "high",
            'json_path_equals urgency: expected "high", but the output is not valid JSON',
        ),
        (
            {"type": "json_path_equals", "path": "a[1].b", "equals": True},
            '{"a": [0, {"b": 1}]}',
            "json_path_equals a[1].b: expected true, found 1",
        ),
        (
            {"type": "json_path_equals", "path": "a[2]", "equals": 1},
            '{"a": [0, 1]}',
            "json_path_equals a[2]: expected 1, found nothing at that path",
        ),
        (
            {"type": "json_path_equals", "path": "a.b", "equals": 1},
            '{"a": "b"}',
            "json_path_equals a.b: expected 1, found nothing at that path",
        ),
        (
            {"type": "json_path_equals", "path": "u", "equals": "x", "caseSensitive": True},
            '{"u": "X"}',
            'json_path_equals u: expected "x", found "X"',
        ),
        (
            {"type": "json_path_equals", "path": "categories", "equals": ["a", "b"], "unordered": True},
            '{"categories": ["c"]}',
            (
                'json_path_equals categories: expected ["a", "b"] (in any order), found ["c"]; '
                'missing "a", "b"; not expected "c"'
            ),
        ),
        (
            {"type": "json_path_equals", "path": "c", "from_metadata": "list", "unordered": True},
            '{"c": "a"}',
            'json_path_equals c: expected ["a", "b"] (in any order), found "a"',
        ),
        (
            {"type": "json_path_equals", "path": "$", "equals": {"a": 1}},
            "[]",
            'json_path_equals $: expected {"a": 1}, found []',
        ),
        (
            {"type": "numeric_close", "value": 42},
            "It is 41, I think: 1.",
            "numeric_close: expected 42 (within 1e-06), found 1; it is off by 41",
        ),
        (
            {"type": "numeric_close", "value": 42, "tolerance": 0.5},
            "none",
            'numeric_close: expected 42 (within 0.5), found no number in "none"',
        ),
        (
            {"type": "numeric_close", "value": 2, "path": "a"},
            '{"a": "x"}',
            'numeric_close a: expected 2 (within 1e-06), found "x", which is no number',
        ),
        (
            {"type": "numeric_close", "value": 2, "path": "a"},
            "{}",
            "numeric_close a: expected 2 (within 1e-06), found nothing at that path",
        ),
        (
            {"type": "numeric_close", "value": 2, "path": "a"},
            "2",
            "numeric_close a: expected 2 (within 1e-06), found nothing at that path",
        ),
        (
            {"type": "numeric_close", "value": 2, "path": "a"},
            "a",
            "numeric_close a: expected 2 (within 1e-06), but the output is not valid JSON",
        ),
        (
            {"type": "similarity", "value": "abcd"},
            "abxy",
            'similarity: expected something like "abcd", found "abxy"; they are 0.50 alike',
        ),
        (
            {"type": "tool_called", "name": "a"},
            "x",
            'tool_called: the tool "a" was not called: the result reports no list metadata["tool_calls"]',
        ),
        (
            {"type": "json_schema", "schema": {"required": ["x"], "properties": {"y": {"enum": [1]}}}},
            '{"y": 2}',
            (
                "json_schema: the JSON does not fit the schema: "
                "at $: 'x' is a required property; at $.y: 2 is not one of [1]"
            ),
        ),
        (
            {"type": "json_schema", "schema": {}},
            "x",
            'json_schema: the output is not valid JSON: Expecting value at line 1 column 1; it starts with "x"',
        ),
        (
            {"type": "json_schema", "schema": {"items": {"type": "string"}}},
            "[1, 2, 3, 4, 5, 6, 7]",
            "json_schema: the JSON does not fit the schema: "
            + "; ".join(f"at $[{n}]: {n + 1} is not of type 'string'" for n in range(5))
            + " and 2 more",
        ),
    ],
)
def test_the_words_say_what_was_expected_and_what_was_found(graded, check, output, feedback):
    assert graded(check, output, **LABELS).feedback == feedback


@pytest.mark.parametrize(
    ("check", "output"),
    [
        ({"type": "contains", "value": "STRASSE"}, "Hauptstraße 1"),
        ({"type": "not_contains", "value": "Yes", "caseSensitive": True}, "yes"),
        ({"type": "contains", "from_metadata": "n"}, "5 days"),
        ({"type": "equals", "value": "STRASSE"}, " straße\n"),
        ({"type": "equals", "value": {"a": 1, "b": [2]}}, '{"b": [2.0], "a": 1}'),
        ({"type": "equals", "value": {"a": 1}}, {"a": 1.0}),
        ({"type": "equals", "value": None}, "null"),
        ({"type": "json_valid"}, {"a": [1]}),
        ({"type": "json_path_equals", "path": "$.a[-1]", "equals": "B"}, '{"a": ["a", " b "]}'),
        ({"type": "json_path_equals", "path": "$[0]", "equals": 1.0}, "[1]"),
        ({"type": "json_path_equals", "path": "a", "from_metadata": "none"}, '{"a": null}'),
        ({"type": "json_path_equals", "path": "c", "equals": ["a", "b", "b"], "unordered": True}, '{"c": ["B", "a"]}'),
        ({"type": "json_path_equals", "path": "c", "equals": [], "unordered": True}, '{"c": []}'),
        ({"type": "json_path_equals", "path": "c", "equals": {"k": "X"}}, '{"c": {"k": "x"}}'),
        ({"type": "numeric_close", "value": "1,200"}, "It is -3; so 1,200."),
        ({"type": "numeric_close", "value": 100, "rel": 0.05}, "v2: 104"),
        ({"type": "numeric_close", "value": -0.5, "path": "a.b"}, '{"a": {"b": "-.5"}}'),
        ({"type": "numeric_close", "from_metadata": "n"}, "= 5e0"),
        ({"type": "similarity", "value": "A b"}, " a B "),
        ({"type": "json_schema"}, "anything"),
        ({"type": "expected_output_schema"}, "anything"),
        ({"type": "task_expectations"}, "anything"),
    ],
)
def test_what_is_right_is_perfect(graded, check, output):
    verdict = graded(check, output, **LABELS)
    assert (verdict.score, verdict.feedback) == (1.0, "All checks passed.")


def test_unordered_lists_are_scored_by_f1(graded):
    check = {"type": "json_path_equals", "path": "c", "equals": ["a", "b"], "unordered": True}
    assert graded(check, '{"c": ["a"]}').score == pytest.approx(2 / 3)
    assert graded(check, '{"c": ["a", "b", "c"]}').score == pytest.approx(0.8)
    assert graded(check, '{"c": []}').score == 0.0


def test_the_expected_output_is_a_label_too(graded):
    check = {"type": "json_path_equals", "path": "a", "fromExpected": "a"}
    assert graded(check, '{"a": 1}', expected_output={"a": 1}).passed
    assert graded({"type": "equals", "from_expected": "$"}, "yes", expected_output="Yes").passed
    assert "expected 1, found 2" in graded(check, '{"a": 2}', expected_output={"a": 1}).feedback


@pytest.mark.parametrize(
    ("check", "sentence"),
    [
        ({"type": "equals", "from_expected": "$"}, 'task "t" has no expected_output; add it'),
        ({"type": "equals", "from_expected": "$.a"}, 'task "t" has no expected_output.a; add it'),
        ({"type": "equals", "from_metadata": "a.b"}, 'task "t" has no metadata.a.b; add it'),
        ({"type": "contains", "from_metadata": "list"}, r'metadata.list is \["a", "b"\]; the check needs a text'),
        ({"type": "contains", "from_metadata": "none"}, "metadata.none is null; the check needs a text"),
        ({"type": "contains", "from_metadata": "empty"}, "metadata.empty is empty; every output contains that"),
        ({"type": "numeric_close", "from_metadata": "l"}, 'metadata.l is "high"; the check needs a number'),
        (
            {"type": "json_path_equals", "path": "a", "from_metadata": "l", "unordered": True},
            '"unordered" compares lists',
        ),
    ],
)
def test_a_label_that_is_missing_or_wrong_is_never_a_score(graded, check, sentence):
    with pytest.raises(GradingError, match=sentence):
        graded(check, "[]", **LABELS)


@pytest.mark.parametrize("whole", ["Yes", 7])
def test_a_path_into_an_expected_output_without_parts_is_told_how_to_name_all_of_it(graded, whole):
    said = r'no expected_output\.answer; its expected output is .*: give "from_expected": "\$" for all of it'
    with pytest.raises(GradingError, match=said):
        graded({"type": "equals", "from_expected": "answer"}, "yes", expected_output=whole)


EXPECTATIONS = {
    "expectations": {
        "mustMention": [{"anyOf": ["30 days", "thirty days"], "message": "the window"}, {"text": "refund"}, "Sorry"],
        "mustNotMention": [{"text": "final sale", "message": "it can be returned"}, {"anyOf": ["never"]}],
    }
}


def test_expectations_are_the_share_that_holds_and_say_which_do_not(graded):
    verdict = graded({"type": "task_expectations"}, "FINAL SALE. Never a Refund.", metadata=EXPECTATIONS)
    assert verdict.score == pytest.approx(1 / 5)
    assert verdict.feedback == (
        'task_expectations: missing: the window (expected one of "30 days", "thirty days"); missing: expected "Sorry"; '
        'must not mention: "final sale" (it can be returned); must not mention: "never"'
    )
    assert graded({"type": "task_expectations"}, "sorry: Thirty Days, refund", metadata=EXPECTATIONS).passed
    snake = {"expectations": {"must_mention": [{"any_of": ["x"]}], "must_not_mention": None}}
    assert not graded({"type": "task_expectations"}, "y", metadata=snake).passed


@pytest.mark.parametrize(
    ("expectations", "sentence"),
    [
        (
            [{"message": "be kind"}],
            r'task "t": metadata.expectations is \[\{"message": "be kind"\}\]; it must be an object',
        ),
        ("x", "it must be an object"),
        ({"mustSay": []}, 'has the unknown key "mustSay"'),
        ({"mustMention": "x"}, 'has "x" as mustMention; it must be a list'),
        ({"mustMention": [3]}, "has 3 in mustMention; it must be an object with anyOf or text"),
        ({"mustMention": [{"message": "be kind"}]}, "with no phrase to look for"),
        ({"mustMention": [{"anyOf": []}]}, "with no phrase to look for"),
        ({"mustMention": [{"anyOf": ["a", " "]}]}, "with no phrase to look for"),
        ({"mustMention": [{"text": "a", "message": 3}]}, "message, a text"),
        ({"mustMention": [{"text": "a", "anyOf": ["b"]}]}, "may hold anyOf or text"),
        ({"mustMention": [{"text": "a", "weight": 2}]}, "may hold anyOf or text"),
    ],
)
def test_expectations_without_a_phrase_do_not_pass_in_silence(graded, expectations, sentence):
    with pytest.raises(GradingError, match=sentence):
        graded({"type": "task_expectations"}, "x", metadata={"expectations": expectations})


def test_the_expected_output_schema_asks_for_its_required_keys_only(graded):
    check, schema = {"type": "expected_output_schema"}, {"required": ["x"], "properties": {"x": {"type": "string"}}}
    assert graded(check, '{"x": 1}', expected_output_schema=schema).passed
    assert graded(check, "{}", expected_output_schema={}).passed
    assert graded(check, "{}", expected_output_schema=schema).feedback == (
        'expected_output_schema: the JSON object lacks the required keys "x" (it is empty)'
    )
    assert graded(check, "[]", expected_output_schema={}).feedback == (
        "expected_output_schema: expected a JSON object; the output is JSON, but a list"
    )
    with pytest.raises(GradingError, match='"required" of the expected output schema is "x"'):
        graded(check, "{}", expected_output_schema={"required": "x"})


def test_the_task_schema_is_applied_in_full_by_json_schema(graded):
    schema = {"$schema": "https://example.com/unknown", "properties": {"x": {"type": "string"}}}
    assert not graded({"type": "json_schema"}, '{"x": 1}', expected_output_schema=schema).passed
    assert graded({"type": "json_schema"}, '{"x": ""}', expected_output_schema=schema).passed


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"}, {"$schema": 3}, {"$ref": "https://example.com/x.json"}, {"$ref": "#/none"},
        {"$ref": "#"}, {"properties": {"x": {"pattern": "("}}},
    ],
)  # fmt: skip
def test_a_schema_that_cannot_be_applied_is_never_a_score(graded, schema):
    with pytest.raises(GradingError, match=r'task "t": the .* cannot be applied|is not a JSON Schema'):
        graded({"type": "json_schema"}, '{"x": "y"}', expected_output_schema=schema)


@pytest.mark.parametrize(
    "calls",
    [
        ["lookup"],
        ({"name": "lookup"},),
        [{"tool": "lookup"}],
        [{"function": {"name": "lookup"}}],
        [{"function": "lookup"}],
    ],
)
def test_tools_are_found_in_the_shapes_that_agents_report(graded, calls):
    result = AgentResult(output="x", metadata={"tool_calls": calls})
    assert graded({"type": "tool_called", "tool": "lookup"}, result).passed
    assert graded({"type": "tool_called", "tool": "refund"}, result).feedback == (
        'tool_called: the tool "refund" was not called; called were "lookup"'
    )


def test_no_call_at_all_is_said_so(graded):
    result = AgentResult(output="x", metadata={"tool_calls": []})
    assert graded({"type": "tool_called", "tool": "a"}, result).feedback.endswith("; no tool was called")


def test_likeness_is_bounded_in_time_and_right_at_its_ends():
    assert alike("", "") == 1.0
    assert alike("a" * 5000, "a" * 5000) == 1.0
    assert alike("a " * 5000, "a  " * 5000) == 1.0
    assert alike("x " * 600 + "y " * 600, "x " * 600 + "z " * 600) == pytest.approx(0.5)
    assert alike("ab " * 100_000, "abc") == 0.0
    assert alike("abc", "abd") == pytest.approx(2 / 3)
