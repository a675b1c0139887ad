"""What a run costs beside plain `dspy.GEPA`, in one run: `python -m tests.bench`.

Ours is the whole product (`rollout.run`): everything stored, everything recorded, in a temporary folder (`whole_run`);
with `BEFORE=REVISION` an older build of it is a third side. Plain is
`dspy.GEPA` on the same experiment, seed and simulator, with the passes that the product makes besides its search (the
baseline over train and holdout, the best over holdout) done by a thread pool. Both execute the same trials but for the
last batch, which plain GEPA may begin beyond its budget; so time per execution is shown as well. The simulator is a
child process, so that nobody shares its interpreter lock.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
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
from tests.bench.whole_run import TARGET
from tests.contracts.plain_gepa import Question, plain_gepa

ROOT = Path(__file__).parents[2]
EXPERIMENT = ROOT / "experiments" / "facility-triage"
Side = Callable[[str, int, int], float]
"""Takes address, budget and threads; gives the best's mean on the holdout."""
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
    before: Timing | None = None
    """The build that was asked to be compared with."""

    @property
    def ratio(self) -> float:
        """Our wall time over plain GEPA's."""
        return self.ours.seconds / self.plain.seconds

    @property
    def ratio_per_execution(self) -> float:
        return self.ours.per_execution_ms / self.plain.per_execution_ms


def measure(
    latencies_ms: Sequence[float] = LATENCIES_MS, *, budget: int = BUDGET, threads: int = THREADS, rounds: int = ROUNDS,
    before: str | None = None,
) -> list[Row]:  # fmt: skip
    """One row per latency; the sides take turns, after a short run of each that loads what is loaded once.

    `before` is a revision of this repository to measure, too.
    """
    keep_libraries_offline()
    if TARGET not in [target.id for target in rollout.list_optimization_targets()]:
        load_modules(["target"], EXPERIMENT)
    rows = []
    with ExitStack() as stack:
        sides: dict[str, Side] = {"ours": stack.enter_context(ours(ROOT)), "plain": run_plain}
        if before is not None:
            sides["before"] = stack.enter_context(ours(stack.enter_context(checkout(before))))
        for latency in latencies_ms:
            with simulator(latency) as url:
                for side in sides.values():
                    side(url, 5, threads)
                times: dict[str, list[Timing]] = {name: [] for name in sides}
                for _ in range(rounds):
                    for name, side in sides.items():
                        times[name].append(_timed(side, url, budget, threads))
            rows.append(Row(latency, **{name: _median(taken) for name, taken in times.items()}))
    return rows


def print_rows(rows: Sequence[Row]) -> None:
    """A table for people."""
    print(f"search: N={BUDGET}, {THREADS} threads, medians of {ROUNDS} rounds; seconds are wall time of the whole run")
    columns = f"{'seconds':>8} {'executions':>11} {'reflections':>12} {'ms each':>8}  {'best':>5}"
    print(f"{'latency':>8}  {'side':<10} {columns}")
    for row in rows:
        for name, timing in (("ours", row.ours), ("dspy.GEPA", row.plain), ("before", row.before)):
            if timing is None:
                continue
            print(
                f"{row.latency_ms:>5g} ms  {name:<10} {timing.seconds:>8.2f} {timing.executions:>11} "
                f"{timing.reflections:>12} {timing.per_execution_ms:>8.2f}  {timing.best:>5.3f}"
            )
        older = f"; of the build before {row.ours.seconds / row.before.seconds:.2f}" if row.before else ""
        print(f"{'':>8}  ratio {row.ratio:.2f} (per execution {row.ratio_per_execution:.2f}){older}")


# -- the two sides


@contextmanager
def ours(build: Path) -> Iterator[Side]:
    """The whole product as it is in a checkout of ours, in a process of its own."""
    command = [sys.executable, "-P", str(Path(__file__).with_name("whole_run.py")), str(EXPERIMENT)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "PYTHONPATH": str(build)},
    ) as child:  # fmt: skip
        assert child.stdin is not None
        assert child.stdout is not None

        def run(url: str, budget: int, threads: int) -> float:
            child.stdin.write(json.dumps({"url": url, "budget": budget, "threads": threads}) + "\n")
            child.stdin.flush()
            return float(json.loads(child.stdout.readline())["best"])

        yield run
        child.stdin.close()


@contextmanager
def checkout(revision: str) -> Iterator[Path]:
    """An older build of ours, in a folder that goes with the block."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["git", "worktree", "add", "--detach", "--quiet", folder, revision], cwd=ROOT, check=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", folder], cwd=ROOT, check=True)


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


def _timed(side: Side, url: str, budget: int, threads: int) -> Timing:
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
