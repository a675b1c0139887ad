"""A check type as a whole verifier, in one line."""

import pytest

from rollout_local.errors import InputError
from rollout_local.verifiers.named import names_check, spec_of_check


@pytest.mark.parametrize(
    ("line", "kind", "params"),
    [
        ("equals", "equals", {"from_expected": "$"}),
        ("exact_match case_sensitive=true", "equals", {"from_expected": "$", "case_sensitive": True}),
        ("contains value='30 days'", "contains", {"value": "30 days"}),
        ("max_length value=900", "max_length", {"value": 900}),
        ("regex pattern=^a+$", "regex", {"pattern": "^a+$"}),
        ('json_keys keys=\'["a", "b"]\'', "json_keys", {"keys": ["a", "b"]}),
        ("task_expectations", "task_expectations", {}),
    ],
)
def test_a_line_is_a_verifier_of_one_check(line, kind, params):
    assert names_check(line)
    (check,) = spec_of_check(line).checks
    assert (check.type, check.params) == (kind, params)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("max_length", r'--verifier "max_length": check 1 \(max_length\): lacks the parameter "value"'),
        ("contains vale=x", r'unknown parameter "vale"; did you mean "value"'),
        ("contains x", r'"x" is no KEY=VALUE'),
        ("contains value='x", r"No closing quotation; quote a value with spaces"),
    ],
)
def test_what_is_wrong_with_a_line_is_said(line, sentence):
    with pytest.raises(InputError, match=sentence):
        spec_of_check(line)


@pytest.mark.parametrize("line", ["verifier.json", "quality", "equalz", "checks/equals"])
def test_other_names_are_no_checks(line):
    assert not names_check(line)
