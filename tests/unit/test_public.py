"""The public names, and that importing the package and asking for help cost nothing."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import rollout_local

ROOT = Path(rollout_local.__file__).parent.parent
HEAVY = ["pydantic", "dspy", "gepa", "litellm", "openai", "sqlite_utils", "vcr", "rich", "scipy", "datasette", "httpx"]


def python(code, cwd):
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


@pytest.mark.parametrize("name", rollout_local.PUBLIC)
def test_every_public_name_is_what_its_module_has(name):
    module = importlib.import_module(rollout_local.PUBLIC[name])
    assert getattr(rollout_local, name) is getattr(module, name)
    assert getattr(rollout_local, name).__doc__


def test_the_table_of_public_names_is_what_a_star_imports():
    assert sorted(rollout_local.PUBLIC) == rollout_local.__all__
    assert dir(rollout_local) == rollout_local.__all__, "and what an editor offers"


def test_a_name_that_is_not_there_is_refused_as_python_does():
    with pytest.raises(AttributeError, match="module 'rollout_local' has no attribute 'optimise'"):
        rollout_local.optimise  # noqa: B018


def test_importing_the_package_imports_nothing_heavy(tmp_path):
    done = python("import rollout_local, sys, json; print(json.dumps(sorted(sys.modules)))", tmp_path)
    assert done.returncode == 0, done.stderr
    assert [name for name in HEAVY if name in json.loads(done.stdout)] == []


@pytest.mark.parametrize("flag", ["--help", "-h", "--version"])
def test_help_ends_well_and_imports_no_library_but_click(tmp_path, flag):
    code = f"""
import json, sys
sys.argv = ["rollout", {flag!r}]
from rollout_local.cli.main import main
try:
    main()
except SystemExit as stop:
    assert stop.code == 0, stop.code
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""
    done = python(code, tmp_path)
    assert done.returncode == 0, done.stderr
    loaded = json.loads(done.stderr)
    assert "click" in loaded
    assert [name for name in HEAVY if name in loaded] == []


def test_the_package_runs_as_a_module(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "rollout_local", "--help"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: rollout [OPTIONS] COMMAND")
    assert "optimize" in done.stdout
    assert list(tmp_path.iterdir()) == []
