"""A notebook, executed as a user does, by `jupyter execute`: a target in a cell, progress, the result as HTML."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rollout_local.simulator import Simulator
from tests.conftest import ROOT, Project

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("nbclient") is None or importlib.util.find_spec("ipykernel") is None,
    reason="jupyter execute needs nbclient and ipykernel, of the extra [test]",
)

DEFINE = """\
import rollout_local as rollout

@rollout.optimize(id="in-a-cell", kind="prompt", description="Replies.", baseline="Reply to the customer.")
def reply(task: rollout.Task, candidate: rollout.Candidate) -> str:
    return candidate.text
"""
RUN = """\
result = rollout.run(
    "in-a-cell", dataset="dataset", verifier="verifier.json", splits_file="splits.json", max_metric_calls=6,
    reflection_model="openai/sim-reflection", reflection_api_base=URL,
)
result
"""
AFTERWARDS = 'print(len(result.trials), rollout.load("latest").verdict.word, result.status)'
INTERRUPT = """\
import os, signal
class Interrupting:
    def progress(self, progress):
        if progress.done == 1 and progress.phase == "evaluating_baseline":
            os.kill(os.getpid(), signal.SIGINT)
    def note(self, level, message): ...
paused = rollout.run(
    "in-a-cell", dataset="dataset", verifier="verifier.json", splits_file="splits.json", max_metric_calls=6,
    reflection_model="openai/sim-reflection", reflection_api_base=URL, watch=Interrupting(), concurrency=1,
)
print(paused.status, paused.message.replace(paused.run_id, "RUN"))
print(rollout.resume("latest").status)
"""
ENVIRONMENT = {"PYTHONPATH": str(ROOT), "OPENAI_API_KEY": "", "PYTHONHASHSEED": "5"}


def executed(folder: Path, *cells: str) -> list[list[dict[str, Any]]]:
    """The outputs of each cell after `jupyter execute`, which saves them in the notebook."""
    kernels = folder / "jupyter" / "kernels" / "here"  # this Python's kernel, whatever else is installed
    kernels.mkdir(parents=True)
    command = [sys.executable, "-W", "ignore", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernels / "kernel.json").write_text(json.dumps({"argv": command, "display_name": "here", "language": "python"}))
    notebook = {
        "nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": {"name": "here", "display_name": "here"}},
        "cells": [
            {"cell_type": "code", "id": f"c{n}", "metadata": {}, "source": cell, "outputs": [], "execution_count": None}
            for n, cell in enumerate(cells)
        ],
    }  # fmt: skip
    (folder / "book.ipynb").write_text(json.dumps(notebook))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "jupyter", "execute", "--inplace", "book.ipynb"], cwd=folder,
        check=False, capture_output=True, text=True, timeout=120,
        env={
            **os.environ, **ENVIRONMENT, "JUPYTER_PATH": str(folder / "jupyter"),
            "IPYTHONDIR": str(folder / "ipython"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [cell["outputs"] for cell in json.loads((folder / "book.ipynb").read_text())["cells"]]


def test_a_notebook_shows_how_a_run_goes_and_what_it_found(
    make_project: Callable[..., Project], simulate: Callable[..., Simulator]
) -> None:
    url = simulate().url
    project = make_project(url, train=3, val=2, holdout=2)
    cells = [cell.replace("URL", repr(url)) for cell in (DEFINE, RUN, AFTERWARDS, INTERRUPT)]
    _, ran, afterwards, interrupted = executed(project.folder, *cells)
    shown = ["".join(output["data"].get("text/html", "")) for output in ran if "data" in output]
    bar, result = shown
    assert "val " in bar
    assert "<progress" not in bar, "the bar is a line in the end"
    assert "<svg" in result
    assert "holdout" in result
    assert [output for output in ran if output["output_type"] in ("stream", "error")] == []
    trials, *word, status = "".join(afterwards[0]["text"]).split()
    assert int(trials) >= 7
    assert " ".join(word) in {"promote", "undecided", "do not promote"}
    assert status == "completed"
    said = "".join(text for output in interrupted for text in output.get("text", [])).splitlines()
    assert "paused interrupted; go on with rollout.resume('RUN')" in said, "a kernel's interrupt is no traceback"
    assert said[-1] == "completed"
