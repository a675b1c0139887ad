"""An empty registry, and modules of a user's in a folder that is importable while the test runs."""

import importlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import rollout_local
from rollout_local.targets.registry import clear_optimization_targets

ROOT = Path(rollout_local.__file__).parent.parent


@pytest.fixture(autouse=True)
def _no_targets():
    clear_optimization_targets()
    yield
    clear_optimization_targets()


class Folder:
    """A user's folder: `write(path, text)`, `load(name)`; a module is as its file is when it is loaded."""

    def __init__(self, path):
        self.path = path

    def write(self, name, text):
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text), encoding="utf-8")
        return file

    def load(self, name):
        self.forget()
        return importlib.import_module(name)

    def forget(self):
        """Make Python read the files again."""
        importlib.invalidate_caches()
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None) or "").startswith(str(self.path)):
                del sys.modules[name]

    def python(self, code, **variables):
        """Run code in the folder with only our package on the path; returns what it printed."""
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
            cwd=self.path, capture_output=True, text=True, timeout=60, check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The user's folder, importable; its modules are forgotten afterwards."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    made = Folder(tmp_path)
    yield made
    made.forget()
