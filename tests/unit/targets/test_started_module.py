"""The module that a process was started with has a name of its own for every other process."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest

import rollout_local as rollout
from rollout_local.targets.registry import clear_optimization_targets, load_modules, modules_of
from rollout_local.targets.source import source_of
from rollout_local.targets.started_module import is_guarded, name_of

SCRIPT = """
import rollout_local as rollout

@rollout.optimize(id="of-script", baseline="Answer.")
def answer(task, candidate):
    return task.name
"""
GUARD = "if __name__ == '__main__':\n    print('run')\n"


def started(monkeypatch: pytest.MonkeyPatch, file: Path, spec: str | None = None) -> ModuleType:
    """As `python FILE` or `python -m SPEC` would leave it."""
    module = ModuleType("__main__")
    module.__file__ = str(file)
    module.__spec__ = None if spec is None else ModuleSpec(spec, None)
    module.__package__ = None if spec is None else spec.rpartition(".")[0]
    monkeypatch.setitem(sys.modules, "__main__", module)
    exec(compile(file.read_text(), str(file), "exec"), module.__dict__)
    return module


@pytest.mark.parametrize("spec", [None, "jobs.script"])
def test_a_script_that_says_what_to_leave_is_named_and_not_imported_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str | None
) -> None:
    name = spec or "script"
    file = tmp_path / (name.replace(".", "/") + ".py")
    file.parent.mkdir(exist_ok=True)
    file.write_text(SCRIPT + GUARD)
    module = started(monkeypatch, file, spec)
    try:
        assert name_of(module) == name
        assert modules_of("of-script", tmp_path) == [name]
        assert source_of("__main__")[0].startswith(f"# --- {name.replace('.', '/')}.py\n")
        target = rollout.get_optimization_target("of-script")
        load_modules([name], tmp_path)
        assert name not in sys.modules
        assert rollout.get_optimization_target("of-script") is target
    finally:
        clear_optimization_targets()


def test_a_script_that_does_all_when_it_is_imported_has_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    started(monkeypatch, tmp_path / "script.py")
    try:
        assert modules_of("of-script", tmp_path) == []
    finally:
        clear_optimization_targets()


@pytest.mark.parametrize(
    ("text", "guarded"),
    [
        ("if '__main__' == __name__:\n    pass", True),
        ("if __name__ != '__main__':\n    pass", False),
        ("if __name__ == 'other':\n    pass", False),
        ("if __name__:\n    pass", False),
        ("def f():\n    if __name__ == '__main__':\n        pass", False),
        ("if (", False),
    ],
)
def test_a_guard_is_a_comparison_of_the_name_at_the_top(tmp_path: Path, text: str, guarded: bool) -> None:
    (tmp_path / "script.py").write_text(text)
    assert is_guarded(tmp_path / "script.py") is guarded
    assert not is_guarded(tmp_path / "missing.py")
