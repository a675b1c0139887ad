"""`make record`: run the shipped experiments against the simulator, over real HTTP, and write recordings and locks.

Each experiment folder that has a `simulator.json` is recorded from a simulator that follows that script.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from rollout_local.domain.run import RunStatus
from rollout_local.experiments import live, locking, manifest, replay
from rollout_local.models import keep_libraries_offline
from rollout_local.runs.progress import Silent
from rollout_local.simulator import Settings, Simulator, load_script

ROOT = Path(__file__).parent.parent


def record(folder: Path) -> None:
    """Record one experiment and lock it."""
    with tempfile.TemporaryDirectory() as scratch, Simulator(load_script(folder / "simulator.json"), Settings()) as sim:
        servers = {"task_api_base": sim.url, "reflection_api_base": sim.url}
        outcome = live.record(folder, Path(scratch) / "live.db", servers, Silent())
        if outcome.status is not RunStatus.COMPLETED:
            sys.exit(f"{folder}: {outcome.status}: {outcome.message}")
        result = replay.lock(folder, Path(scratch) / "replay.db", Silent())
    print(f"{folder.relative_to(ROOT)}: {locking.headline(result.report)}")


if __name__ == "__main__":
    keep_libraries_offline()
    for path in manifest.found_in(ROOT / "experiments"):
        if (path / "simulator.json").exists():
            record(path)
