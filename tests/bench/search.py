"""What a run costs beside plain `dspy.GEPA`, in one run: `python -m tests.bench`.

Ours is the whole product (`rollout.run`): everything stored, everything recorded, in a temporary folder. Plain is
`dspy.GEPA` on the same experiment, seed and simulator, with the passes that the product makes besides its search (the
baseline over train and holdout, the best over holdout) done by a thread pool. Both execute the same trials but for the
last batch, which plain GEPA may begin beyond its budget; so time per execution is shown as well. The simulator is a
child process, so that nobody shares its interpreter lock.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openai import OpenAI

import rollout_local as rollout
from rollout_local.datasets.harbor import read_folder
from rollout_local.datasets.splits import make_split, read_splits
from rollout_local.domain.run import DEFAULT_REFLECTION_PARAMS
from rollout_local.domain.target import AgentResult
from rollout_local.models import keep_libraries_offline
from rollout_local.targets.registry import load_modules
from rollout_local.verifiers.grade import grade, read_spec
from tests.contracts.plain_gepa import Question, plain_gepa

EXPERIMENT = Path(__file__).parents[2] / "experiments" / "facility-triage"
TARGET = "facility-triage"
BUDGET = 150
THREADS = 4
ROUNDS = 3
LATENCIES_MS = (20.0, 0.0)
_SIMULATOR = """
import sys
from pathlib import Path
from rollout_local.simulator import Settings, Simulator, load_script
simulator = Simulator(load_script(Path(sys.argv[1])), Settings(latency_ms=float(sys.argv[2])))
simulator.start()
print(simulator.url, flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class Timing:
    """One run: wall seconds, and the model calls that the simulator answered meanwhile."""

    seconds: float
    executions: int
    reflections: int
    best: float

    @property
    def per_execution_ms(self) -> float:
        return self.seconds / self.executions * 1000


@dataclass(frozen=True)
class Row:
    """Both sides at one latency, medians over the rounds."""

    latency_ms: float
    ours: Timing
    plain: Timing

    @property
    def ratio(self) -> float:
        """Our wall time over plain GEPA's."""
        return self.ours.seconds / self.plain.seconds

    @property
    def ratio_per_execution(self) -> float:
        return self.ours.per_execution_ms / self.plain.per_execution_ms


def measure(
    latencies_ms: Sequence[float] = LATENCIES_MS, *, budget: int = BUDGET, threads: int = THREADS, rounds: int = ROUNDS
) -> list[Row]:
    """One row per latency; the sides take turns, after a short run of each that loads what is loaded once."""
    keep_libraries_offline()
    if TARGET not in [target.id for target in rollout.list_optimization_targets()]:
        load_modules(["target"], EXPERIMENT)
    rows = []
    for latency in latencies_ms:
        with simulator(latency) as url:
            for side in (_ours, run_plain):
                side(url, 5, threads)
            times: dict[Any, list[Timing]] = {_ours: [], run_plain: []}
            for _ in range(rounds):
                for side, taken in times.items():
                    taken.append(_timed(side, url, budget, threads))
        rows.append(Row(latency, _median(times[_ours]), _median(times[run_plain])))
    return rows


def print_rows(rows: Sequence[Row]) -> None:
    """A table for people."""
    print(f"search: N={BUDGET}, {THREADS} threads, medians of {ROUNDS} rounds; seconds are wall time of the whole run")
    columns = f"{'seconds':>8} {'executions':>11} {'reflections':>12} {'ms each':>8}  {'best':>5}"
    print(f"{'latency':>8}  {'side':<10} {columns}")
    for row in rows:
        for name, timing in (("ours", row.ours), ("dspy.GEPA", row.plain)):
            print(
                f"{row.latency_ms:>5g} ms  {name:<10} {timing.seconds:>8.2f} {timing.executions:>11} "
                f"{timing.reflections:>12} {timing.per_execution_ms:>8.2f}  {timing.best:>5.3f}"
            )
        print(f"{'':>8}  ratio {row.ratio:.2f} (per execution {row.ratio_per_execution:.2f})")


# -- the two sides


def _ours(url: str, budget: int, threads: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        result = rollout.run(
            TARGET,
            dataset="datasets/facility",
            verifier="verifier.json",
            splits_file="splits.json",
            folder=EXPERIMENT,
            db=Path(folder, "rollout.db"),
            log_dir=str(Path(folder, "log")),
            reflection_model="openai/sim-reflection",
            task_model="openai/sim-student",
            reflection_api_base=url,
            task_api_base=url,
            max_metric_calls=budget,
            concurrency=threads,
            simulated=True,
        )
        assert result.status == "completed", result.message
        assert Path(folder, "log", "recording.yaml").stat().st_size > 0
    assert result.report is not None
    return float(result.report["best"]["holdout"]["mean"])


def run_plain(url: str, budget: int, threads: int) -> float:
    """The same run without us; returns the best's mean on the holdout."""
    tasks = read_folder(EXPERIMENT / "datasets" / "facility")
    split = make_split(tasks, 0, read_splits(EXPERIMENT / "splits.json"))
    specs = [read_spec(EXPERIMENT / "verifier.json")]
    with OpenAI(base_url=url, api_key="x", timeout=30, max_retries=1) as client:

        def function(texts: dict[str, str], name: str, shown: dict[str, Any]) -> tuple[str, float, str]:
            task = tasks.by_name[name]
            completion = client.chat.completions.create(
                model="sim-student",
                temperature=0,
                messages=[
                    {"role": "system", "content": next(iter(texts.values()))},
                    {"role": "user", "content": task.input["message"]},
                ],
            )
            output = completion.choices[0].message.content or ""
            verdict = grade(specs, task, AgentResult(output=output))
            return output, verdict.score, verdict.feedback

        def score(texts: dict[str, str], names: Sequence[str]) -> float:
            with ThreadPoolExecutor(threads) as pool:
                return statistics.fmean(graded[1] for graded in pool.map(lambda name: function(texts, name, {}), names))

        def questions(names: Sequence[str]) -> list[Question]:
            return [Question(name, {"input": tasks.by_name[name].input}) for name in names]

        target = rollout.get_optimization_target(TARGET)
        baseline = target.baseline.components
        score(baseline, split.train)
        before = score(baseline, split.holdout)
        search = plain_gepa(
            function,
            baseline=baseline,
            train=questions(split.train),
            val=questions(split.val),
            max_metric_calls=budget + len(split.val),
            reflection={"model": "openai/sim-reflection", "api_base": url, "api_key": "x", **DEFAULT_REFLECTION_PARAMS},
            additional_instructions=f"The instructions are the text of a prompt.\nWhat it is for: {target.description}",
            threads=threads,
            seed=0,
        )
        best = search.scores.index(max(search.scores))
        return score(search.candidates[best], split.holdout) if best else before


# -- measuring


def _timed(side: Any, url: str, budget: int, threads: int) -> Timing:
    _post(url, "/-/reset")
    began = time.perf_counter()
    best = side(url, budget, threads)
    seconds = time.perf_counter() - began
    calls = _get(url, "/-/calls")["by_model"]
    return Timing(seconds, calls["sim-student"], calls["sim-reflection"], best)


def _median(timings: Sequence[Timing]) -> Timing:
    return sorted(timings, key=lambda timing: timing.seconds)[len(timings) // 2]


@contextmanager
def simulator(latency_ms: float) -> Iterator[str]:
    command = [sys.executable, "-c", _SIMULATOR, str(EXPERIMENT / "simulator.json"), str(latency_ms)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    try:
        yield child.stdout.readline().strip()
    finally:
        child.communicate()


def _get(url: str, path: str) -> Any:
    with urllib.request.urlopen(url.removesuffix("/v1") + path) as reply:
        return json.load(reply)


def _post(url: str, path: str) -> None:
    urllib.request.urlopen(urllib.request.Request(url.removesuffix("/v1") + path, data=b"", method="POST")).close()
