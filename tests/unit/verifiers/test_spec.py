"""A verifier is understood in every spelling that is documented, or refused by name."""

import json
from pathlib import Path

import pytest

from rollout_local.errors import InputError
from rollout_local.verifiers.checks import CHECKS
from rollout_local.verifiers.grade import parse_spec, read_spec


def parse(raw):
    return parse_spec(raw, "quality", "quality.json")


def one(check):
    return parse({"checks": [check]}).checks[0]


def test_everything_left_out_has_the_documented_default():
    spec = parse({"checks": [{"type": "json_valid"}]})
    assert (spec.id, spec.name, spec.kind, spec.pass_threshold) == ("quality", "quality", "native", 1.0)
    check = spec.checks[0]
    assert (check.id, check.weight, check.required, check.params) == ("json_valid", 1.0, False, {})


def test_two_spellings_of_one_verifier_are_one_version():
    camel = {
        "id": "q", "passThreshold": 1,
        "checks": [
            {"type": "must_contain", "text": "x", "caseSensitive": True, "weight": 2},
            {"type": "json_keys", "params": {"requiredKeys": ["a"]}},
            {"type": "exact_match", "fromMetadata": "a", "params": {"caseSensitive": False}},
        ],
    }  # fmt: skip
    snake = {
        "id": "q", "kind": "native", "name": "Another name",
        "checks": [
            {"type": "contains", "weight": 2.0, "params": {"value": "x", "case_sensitive": True}},
            {"type": "json_keys", "keys": ["a"]},
            {"type": "equals", "from_metadata": "a", "required": False},
        ],
    }  # fmt: skip
    assert parse(camel).content_hash == parse(snake).content_hash
    assert parse(camel).checks[0].params == {"value": "x", "case_sensitive": True}


@pytest.mark.parametrize("name", CHECKS)
def test_a_stored_spec_is_read_back_equal(name):
    spec = parse({"pass_threshold": 0.5, "checks": [{"type": name, **CHECKS[name].example.params}] * 2})
    assert parse(json.loads(spec.model_dump_json())) == spec


def test_ids_that_nobody_wrote_are_numbered_around_those_that_somebody_did():
    types = [{"type": "json_valid"}, {"type": "json_valid", "id": "json_valid"}, {"type": "json_valid"}]
    assert [check.id for check in parse({"checks": types}).checks] == ["json_valid-2", "json_valid", "json_valid-3"]


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ([], "quality.json: a verifier is an object with checks"),
        ({}, 'has no checks; "checks" must be a list of at least one'),
        ({"checks": []}, "has no checks"),
        ({"checks": "json_valid"}, "has no checks"),
        ({"checks": [3]}, "check 1: is 3; a check is an object with a type"),
        ({"cheks": []}, 'unknown key "cheks"; did you mean "checks"?'),
        ({"zzzz": []}, 'unknown key "zzzz"; known are id, name, kind, pass_threshold, checks'),
        ({"kind": "llm", "checks": []}, 'the kind "llm" is not known; only "native" is'),
        ({"passThreshold": 2, "checks": []}, "passThreshold is 2; it must be a number from 0 to 1"),
        ({"passThreshold": "1", "checks": []}, 'passThreshold is "1"'),
        ({"passThreshold": True, "checks": []}, "passThreshold is true"),
        ({"passThreshold": float("nan"), "checks": []}, "nan has no place in JSON"),
        ({"passThreshold": 1, "pass_threshold": 1}, '"pass_threshold" is given twice, in two spellings'),
        ({"id": 3, "checks": [{"type": "json_valid"}]}, "id is 3; it must be a text of one line"),
        ({"name": "a\nb", "checks": [{"type": "json_valid"}]}, "name is"),
        ({"checks": [{"type": "json_valid", "weight": 0}]}, "all weights are 0"),
        ({"checks": [{"type": "json_valid", "id": "a"}] * 2}, 'check 2: the id "a" is given twice'),
        ({"checks": [{"type": "json_valid", "id": "\ud800"}]}, "half of a surrogate pair"),
        ({1: 2}, "the key 1 is not a text"),
    ],
)
def test_a_wrong_verifier_is_refused_in_a_sentence(raw, sentence):
    with pytest.raises(InputError) as caught:
        parse(raw)
    assert sentence in str(caught.value)
    assert str(caught.value).startswith("quality.json: ")


@pytest.mark.parametrize(
    ("check", "sentence"),
    [
        ({}, "check 1: the type is missing; known are task_expectations, contains"),
        ({"type": 3}, "check 1: the type is 3; known are"),
        ({"type": "nope"}, 'unknown check type "nope"; known are task_expectations, contains'),
        ({"type": "field_equals", "path": "a"}, "use json_path_equals with path and equals"),
        ({"type": "json_valid", "weight": -1}, "check 1 (json_valid): weight is -1; it must be a number from 0"),
        ({"type": "json_valid", "weight": "2"}, 'weight is "2"'),
        ({"type": "json_valid", "weight": True}, "weight is true"),
        ({"type": "json_valid", "weight": 10**400}, "weight is 1000"),
        ({"type": "json_valid", "required": 1}, "required is 1; it must be true or false"),
        ({"type": "json_valid", "params": []}, "params is []; it must be an object"),
        ({"type": "json_valid", "value": 1}, 'unknown parameter "value"; this type has none'),
        ({"type": "contains", "values": "x"}, 'unknown parameter "values"; did you mean "value"?'),
        ({"type": "contains", "zzzz": "x"}, 'unknown parameter "zzzz"; known are value, from_metadata'),
        ({"type": "contains", "value": "x", "params": {"value": "x"}}, 'the parameter "value" is given twice'),
        ({"type": "contains", "value": "x", "text": "x"}, 'the parameter "value" is given twice'),
        ({"type": "contains"}, 'has 0 of the parameters "value", "from_metadata", "from_expected"; give one'),
        ({"type": "contains", "value": "x", "from_metadata": "a"}, "has 2 of the parameters"),
        ({"type": "contains", "value": ""}, 'the parameter "value" must be a text that is not empty'),
        ({"type": "contains", "value": True}, 'the parameter "value" must be a text'),
        ({"type": "contains", "value": "x", "caseSensitive": "no"}, '"case_sensitive" must be true or false'),
        ({"type": "regex"}, 'lacks the parameter "pattern"'),
        ({"type": "regex", "pattern": "("}, 'the parameter "pattern" is not a regular expression: missing )'),
        ({"type": "regex", "pattern": 3}, "must be a regular expression, as a text"),
        ({"type": "regex", "pattern": "(" * 5000 + ")" * 5000}, "is not a regular expression"),
        ({"type": "min_length", "value": -1}, "must be a whole number from 0"),
        ({"type": "min_length", "value": 1.5}, "must be a whole number from 0"),
        ({"type": "json_keys", "keys": []}, 'the parameter "keys" must be a list of keys'),
        ({"type": "json_keys", "keys": "a"}, "must be a list of keys"),
        (
            {"type": "json_path_equals", "path": "a..b", "equals": 1},
            'the parameter "path" is wrong: "a..b" is not a path',
        ),
        ({"type": "json_path_equals", "path": "", "equals": 1}, "is not a path such as a.b[0]"),
        ({"type": "json_path_equals", "path": "[x]", "equals": 1}, "is not a path"),
        ({"type": "json_path_equals", "path": 3, "equals": 1}, "must be a path such as a.b[0], or $ for all of it"),
        (
            {"type": "json_path_equals", "path": "a", "equals": 1, "unordered": True},
            '"unordered" compares lists; equals is 1',
        ),
        ({"type": "numeric_close", "value": "x"}, 'the parameter "value" must be a number'),
        ({"type": "numeric_close", "value": 1, "abs_tol": -1}, '"abs_tol" must be a number from 0'),
        ({"type": "python", "function": "a.b"}, 'the parameter "function" must be "module:function"'),
        ({"type": "json_schema", "schema": []}, 'the parameter "schema" must be an object'),
        ({"type": "json_schema", "schema": {"type": "no"}}, '"schema" is not a JSON Schema: at $.type: '),
        ({"type": "llm_judge", "prompt": "x"}, 'lacks the parameter "model"'),
        ({"type": "llm_judge", "prompt": " ", "model": "m"}, '"prompt" must be a text that is not empty'),
    ],
)
def test_a_wrong_check_is_refused_by_number_and_name(check, sentence):
    with pytest.raises(InputError) as caught:
        one(check)
    assert sentence in str(caught.value)


def test_a_spec_nested_too_deep_is_refused():
    deep = []
    for _ in range(500):
        deep = [deep]
    with pytest.raises(InputError, match="nested more than 100 levels deep"):
        one({"type": "equals", "value": deep})


def test_a_file_is_read_under_its_stem(tmp_path):
    path = tmp_path / "refund.json"
    path.write_bytes(b'\xef\xbb\xbf{"checks": [{"type": "json_valid"}]}')
    assert read_spec(path).id == "refund"


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b'{\n "checks": [}', r"v.json:2:13: not valid JSON: Expecting value; correct it"),
        (b"\xff", "v.json:1: byte 0xff is not UTF-8"),
        (b"[" * 100_000, "v.json: nested more than 100 levels deep"),
        (b'{"checks": [], "checks": []}', 'v.json: the key "checks" is given twice in one object'),
        (b'{"passThreshold": NaN}', "v.json:1:19: NaN has no place in JSON"),
        (b"3", "v.json: a verifier is an object"),
    ],
)
def test_a_damaged_file_is_refused_with_its_line(tmp_path, raw, sentence):
    (tmp_path / "v.json").write_bytes(raw)
    with pytest.raises(InputError, match=sentence):
        read_spec(tmp_path / "v.json")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"none.json does not exist; check the path"):
        read_spec(tmp_path / "none.json")
    with pytest.raises(InputError, match="is a folder where a file is needed"):
        read_spec(tmp_path)


def test_the_verifiers_of_the_experiments_are_read():
    for path in Path(__file__).parents[3].glob("experiments/*/verifier.json"):
        assert read_spec(path).checks
