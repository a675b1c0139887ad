"""A run whose database is lost, rebuilt from its log_dir: the set-up from `run.json`, the calls from the recording.

The rebuilt run begins anew under its old id; every call that was recorded is served from the recording, so only
what is missing is paid for.
"""

from __future__ import annotations

import json
from pathlib import Path

from rollout_local.domain.identity import canonical_json
from rollout_local.errors import InputError, NotFound
from rollout_local.planning import environment, trust
from rollout_local.planning.fingerprint import require_same
from rollout_local.planning.setup import Setup, insert, source_difference
from rollout_local.planning.target import find_again
from rollout_local.runs.log_dir import RunDocument, read_run, stored_parts
from rollout_local.store import reads
from rollout_local.store.schema import Store


def run_of(store: Store, log_dir: Path, folder: Path, accepted: tuple[str, ...] = (), *, trusted: bool = False) -> str:
    """The id of the run that a log_dir belongs to; the run is written to the database where it is not there.

    Raises `InputError` where the folder is no log_dir, or an input differs from what the run began with;
    `NotConfirmed` where the folder came from elsewhere, unless it is `trusted`.
    """
    document = read_run(log_dir)
    run_id = str(document["run_id"])
    try:
        return str(reads.run(store, run_id)["id"])
    except NotFound:
        setup = _setup(document, log_dir, folder, trusted=trusted)
        explain = {"target": source_difference(str(document["target"]["source"]), setup)}
        require_same(document["inputs"], json.loads(canonical_json(setup.inputs)), accepted, explain)
        insert(store, setup, run_id=run_id)
        return run_id


def matching(log_dir: Path, setup: Setup) -> bool:
    """True where a log_dir holds an earlier run of the very same inputs.

    Raises `InputError` naming the input that differs where it holds another run: two runs do not share a folder.
    """
    if not (log_dir / "run.json").exists():
        return False
    document = read_run(log_dir)
    explain = {"target": source_difference(str(document["target"]["source"]), setup)}
    try:
        require_same(document["inputs"], json.loads(canonical_json(setup.inputs)), (), explain)
    except InputError as error:
        msg = f"{log_dir} belongs to run {document['run_id']}, which differs: {error}; give another --log-dir"
        raise InputError(msg) from error
    return True


def _setup(document: RunDocument, log_dir: Path, folder: Path, *, trusted: bool) -> Setup:
    parts = stored_parts(document, log_dir)
    if not trusted:
        trust.require_sealed(document.get("confirmed"), str(document["run_id"]), parts.config, parts.specs)
    config = parts.config.model_copy(update={"log_dir": str(log_dir)})
    with environment.for_target(config, offline_keys=False):
        target = find_again(config, str(document["target"]["source"]), config.target_url, folder)
    return Setup(
        config=config,
        target=target,
        dataset=parts.dataset,
        val_dataset=parts.val_dataset,
        split=parts.split,
        specs=parts.specs,
        budget=parts.budget,
    )
