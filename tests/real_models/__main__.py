"""`make record-real`: run the experiments that were recorded with real models live again, and say how far they agree.

    python -m tests.real_models [--write] [NAME…]

Without `--write` nothing that is shipped is touched: a live run of a real model is another run. With it the recording
and the lock are replaced.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import orjson

from rollout_local.domain.run import RunStatus
from rollout_local.experiments import live, locking, manifest, replay
from rollout_local.models import keep_libraries_offline
from rollout_local.recordings import show
from rollout_local.runs.progress import Silent
from rollout_local.store import reads
from rollout_local.store.schema import open_store
from tests.real_models.install import MODELS, installed

ROOT = Path(__file__).parent.parent.parent
PLACE = ROOT / ".rollout/real-models"
SERVE = Path(__file__).with_name("serve.py")
ROLES = ("task", "reflection")


@contextmanager
def served(python: Path, name: str) -> Iterator[str]:
    """The base URL of a model's server; it ends with the block."""
    model = MODELS[name]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(python), str(SERVE), str(python.parent.parent / f"{name}.gguf"), name, str(port), str(model.context)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            if not server.stdout.readline().startswith("ready"):
                sys.exit(f"the server of {name} did not start")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()


def models_of(folder: Path) -> dict[str, str]:
    """The model of each role, by the name that its server lists."""
    run = manifest.read_manifest(folder).run
    return {role: str(run[f"{role}_model"]).removeprefix("openai/") for role in ROLES if f"{role}_model" in run}


def rerun(folder: Path, scratch: Path, python: Path, *, write: bool) -> None:
    """Run an experiment live; then hold it against what is shipped, or put it in its place."""
    recording = (folder / manifest.read_manifest(folder).recording).resolve()
    work = scratch / folder.name if not write else folder
    if not write:
        shutil.copytree(folder, work)
        (work / "experiment.toml").write_text(
            (folder / "experiment.toml").read_text().replace("../../recordings/", "./"), encoding="utf-8"
        )
    before = None if write or not recording.exists() else _seen(recording)
    begun = time.monotonic()
    with ExitStack() as servers:
        asked = models_of(folder)
        urls = {name: servers.enter_context(served(python, name)) for name in dict.fromkeys(asked.values())}
        bases = {f"{role}_api_base": urls[name] for role, name in asked.items()}
        outcome = live.record(work, scratch / f"{folder.name}.db", bases, Silent())
    if outcome.status is not RunStatus.COMPLETED:
        sys.exit(f"{folder.name}: {outcome.status}: {outcome.message}")
    print(f"{folder.name}: live in {time.monotonic() - begun:.0f} s")
    found = replay.lock(work, scratch / f"{folder.name}-replay.db", Silent())
    print(f"  now:     {locking.headline(found.report)}")
    if write:
        return
    shipped = locking.read_lock(folder)
    print(f"  shipped: {shipped.result if shipped else 'no lock'}")
    if before is not None:
        _compare(before, _seen(work / manifest.read_manifest(work).recording))
        _compare_texts(folder, scratch)


def _seen(recording: Path) -> dict[tuple[str, int], bytes]:
    """What was answered, by the request's key and the number of its occurrence."""
    found: dict[tuple[str, int], bytes] = {}
    times: Counter[str] = Counter()
    for item in show(recording).interactions:
        found[item.key, times[item.key]] = item.answer.body or b""
        times[item.key] += 1
    return found


def _compare(before: dict[tuple[str, int], bytes], after: dict[tuple[str, int], bytes]) -> None:
    both = before.keys() & after.keys()
    equal = sum(_text(before[key]) == _text(after[key]) for key in both)
    print(f"  calls: {len(after)} now, {len(before)} shipped, {len(both)} the same; {equal} of those with one answer")


def _text(body: bytes) -> object:
    try:
        return orjson.loads(body)["choices"][0]["message"]["content"]
    except (ValueError, KeyError, TypeError, IndexError):
        return body


def _compare_texts(folder: Path, scratch: Path) -> None:
    shipped = replay.reproduce(folder, scratch / f"{folder.name}-shipped.db", Silent())
    print(f"  the shipped recording replays {'to its lock' if shipped.identical else 'otherwise than its lock says'}")
    one, other = (_candidates(scratch / f"{folder.name}{name}.db") for name in ("-shipped", "-replay"))
    print(f"  candidates: {len(other)} now, {len(one)} shipped, {len(one & other)} of the same text")


def _candidates(database: Path) -> set[str]:
    with open_store(database, create=False, reads=True) as store:
        run = reads.run(store, "latest")
        return {row["content_hash"] for row in reads.candidates(store, run["id"], run["attempt"])}


def main(arguments: list[str]) -> None:
    """Every experiment that real models of the table were recorded for, or those that are named."""
    keep_libraries_offline()
    write, names = "--write" in arguments, [name for name in arguments if name != "--write"]
    found = [path for path in manifest.found_in(ROOT / "experiments") if set(models_of(path).values()) <= set(MODELS)]
    python = installed(PLACE)
    with tempfile.TemporaryDirectory() as scratch:
        for folder in [path for path in found if path.name in names or not names]:
            rerun(folder, Path(scratch), python, write=write)


if __name__ == "__main__":
    main(sys.argv[1:])
