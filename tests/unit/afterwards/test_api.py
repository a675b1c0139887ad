"""`rollout.run` refuses what is not meant for it in a sentence, before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import rollout_local as rollout
from rollout_local.errors import InputError


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"max_metric_call": 60},
            'max_metric_call: there is no such setting of a run; did you mean "max_metric_calls"?',
        ),
        ({"verifer": "v.json"}, 'verifer: there is no such setting of a run; did you mean "verifier"?'),
        ({"xyzzy": 1}, "xyzzy: there is no such setting of a run; rollout.RunConfig and help(rollout.run) name those"),
        ({"max_metric_calls": 0}, "max_metric_calls: input should be greater than or equal to 1"),
    ],
)
def test_a_setting_that_is_mistyped_is_refused_with_the_near_name(
    tmp_path: Path, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError) as refused:
        rollout.run("support-agent", folder=tmp_path, module="target", **given)
    assert said in str(refused.value)
    assert not list(tmp_path.iterdir())
