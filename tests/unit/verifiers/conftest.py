"""Verifiers and their subjects in one line; a module of checks as users write them; a judge that is a function."""

import json
import sys
from types import SimpleNamespace

import pytest

from rollout_local.domain.dataset import Task
from rollout_local.domain.target import AgentResult
from rollout_local.verifiers.grade import grade, parse_spec

CHECKS_OF_THE_USER = """
import math

def polite(task, output):
    return "thank" in output.lower()

def half(task, output):
    return 0.5

def said(task, output):
    return (0.25, "say more")

def told(task, output):
    return {"score": 0.75, "feedback": "nearly"}

def quiet(task, output):
    return {"score": 0.0}

def echo(task, output):
    return (0.0, f"{task.name}: {output!r}")

def raising(task, output):
    raise KeyError("order")

def nothing(task, output):
    return None

def not_a_number(task, output):
    return math.nan

def too_much(task, output):
    return 1.5

def negative(task, output):
    return (-0.1, "")

def wrong_feedback(task, output):
    return (0.5, ["a"])

def wrong_dict(task, output):
    return {"value": 1}

async def awaited(task, output):
    return 1.0

number = 3
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Make `app.checks`, a module of the user's, importable."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").touch()
    (tmp_path / "app" / "checks.py").write_text(CHECKS_OF_THE_USER)
    (tmp_path / "app" / "broken.py").write_text("raise RuntimeError('no network')")
    monkeypatch.syspath_prepend(tmp_path)
    yield "app.checks"
    for name in [name for name in sys.modules if name == "app" or name.startswith("app.")]:
        del sys.modules[name]


@pytest.fixture
def judge():
    """A model that finds what says thanks polite: it reads the request, as a model does."""

    def complete(model, messages, *, api_base=None, **params):
        polite = "thank" in json.loads(messages[1]["content"])["output"].lower()
        return SimpleNamespace(
            text=json.dumps({"score": 1 if polite else 0.2, "reason": "" if polite else "it is curt"})
        )

    return complete


@pytest.fixture
def graded():
    """`graded({"type": "contains", "value": "x"}, output)`: the verdict of one check."""

    def run(check, output, complete=None, **task):
        spec = parse_spec({"checks": [check]}, "quality", "quality.json")
        result = output if isinstance(output, AgentResult) else AgentResult(output=output)
        return grade([spec], Task(name="t", instruction="x", **task), result, complete)

    return run
