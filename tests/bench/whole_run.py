"""One whole run (`rollout.run`) for each line on standard input; for `tests.bench`, in a process of its own.

    python -P whole_run.py EXPERIMENT_FOLDER    a line: {"url", "budget", "threads"} → {"best"}: the best's holdout mean

It is started by its path, and `PYTHONPATH` says which build of rollout-local it measures: this one or an older one.
"""

import json
import sys
import tempfile
from pathlib import Path

import rollout_local as rollout
from rollout_local.models import keep_libraries_offline
from rollout_local.targets.registry import load_modules

TARGET = "facility-triage"


def whole_run(experiment: Path, url: str, budget: int, threads: int) -> float:
    """Everything stored, everything recorded, in a temporary folder; the best's mean on the holdout."""
    with tempfile.TemporaryDirectory() as folder:
        result = rollout.run(
            TARGET,
            dataset="datasets/facility",
            verifier="verifier.json",
            splits_file="splits.json",
            folder=experiment,
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


if __name__ == "__main__":
    keep_libraries_offline()
    place = Path(sys.argv[1])
    load_modules(["target"], place)
    said, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        print(json.dumps({"best": whole_run(place, **json.loads(line))}), file=said, flush=True)
