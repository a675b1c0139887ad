"""One run out of a database into one file, and in again: the same rows, the same digest, or nothing at all.

An import writes in one transaction and commits only when the journal's chain holds and the digest is the one that
the bundle names. It puts a run on the shelf and does nothing else: no worker takes it up, no name of a dataset or
verifier changes its meaning, and what the run reaches for waits for a yes (`runs.contacts`). Files go to
`.rollout/<run id>/`, those of the target's source to `target/` in it, and are taken back where the transaction is. A
run that is there already, unchanged, is left as it is.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rollout_local.bundle import package
from rollout_local.domain.run import RunStatus
from rollout_local.domain.verdict import VerifierSpec
from rollout_local.errors import InputError, Refused, RolloutError
from rollout_local.planning.fingerprint import versions
from rollout_local.planning.setup import KEPT_SOURCE
from rollout_local.redaction import Redactor
from rollout_local.redaction.literals import credentials_in
from rollout_local.reports.digest import FORMAT, Digest, digest
from rollout_local.store import chain, reads, run_tables
from rollout_local.store.row_types import RunRow
from rollout_local.store.schema import Store
from rollout_local.store.stored_run import StoredRun
from rollout_local.targets.source import files_of, joined
from rollout_local.whole_file import replaced

_STILL = frozenset(RunStatus) - {RunStatus.RUNNING, RunStatus.QUEUED}
"""Where nobody works on a run, and no worker takes it up."""


@dataclass(frozen=True)
class Exported:
    """A bundle that was written."""

    run_id: str
    file: Path
    size: int
    digest: str
    members: tuple[str, ...]


@dataclass(frozen=True)
class Imported:
    """A run that is in the database now; `is_new` is false where it was there before and nothing was changed."""

    run_id: str
    is_new: bool
    status: str
    digest: str
    candidates: int
    trials: int
    source: str | None = None
    """Where the files of the target's source were put, to be read; None where there are none."""


def export_bundle(store: Store, reference: str, file: Path, folder: Path) -> Exported:
    """Write a run (rows, recording, target source, set-up, hashes) to the new file `file`.

    Paths in the run are relative to `folder`. Raises `Refused` while it runs, `InputError` where its recording is
    gone, its journal is damaged or `file` exists.
    """
    if file.exists():
        msg = f"{file} exists; give a file that does not"
        raise InputError(msg)
    with store.still():
        run = reads.run(store, reference)
        _require_still(store, run)
        tables = run_tables.gather(store, run["id"])
        found = digest(store, run)
        members = _files(run, tables, StoredRun(run).verifiers(store), folder)
    _make_at_home(_run_of(tables), members)
    members |= package.rows_to_members(tables)
    head: package.BundleHead = {
        "run_id": run["id"],
        "digest": found.digest,
        "digest_format": found.format,
        "tables": found.tables,
        "versions": versions(),
    }
    members[package.MANIFEST] = package.described(head, members)
    data = package.pack(members)
    _write(file, data)
    return Exported(run["id"], file, len(data), found.digest, tuple(sorted(members)))


def import_bundle(store: Store, file: Path, folder: Path) -> Imported:
    """Check every hash of a bundle, then write its run to the database and its files below `folder`.

    Raises `InputError` naming the member that is not whole, `Refused` where another run of that id, or another
    file, is in the way. Nothing is changed then.
    """
    manifest, members = package.unpack(file)
    tables = package.members_to_rows(file, members)
    _require_run(file, manifest, tables)
    _make_at_home(_run_of(tables), members)  # whatever it says of its places: they are ours
    files = {name.removeprefix(package.FILES): data for name, data in members.items() if name.startswith(package.FILES)}
    source = _source_files(tables, files.pop(package.CHECKS, b""))
    home = Path(".rollout") / manifest["run_id"]
    is_new = not reads.is_there(store, manifest["run_id"])
    if not is_new:
        _require_unchanged(store, manifest["run_id"], tables, file)
    else:
        with _faults_named(file), store.write() as db, _placed(folder / home, files | source):
            run_tables.insert(store, db, tables)
            _require_digest(store, manifest, file)
    found = imported(store, manifest["run_id"], is_new=is_new)
    return replace(found, source=str(home / KEPT_SOURCE) if source else None)


def imported(store: Store, run_id: str, *, is_new: bool) -> Imported:
    """How a run stands after its import."""
    run = reads.run(store, run_id)
    candidates = reads.candidates(store, run_id, run["attempt"])
    return Imported(run_id, is_new, run["status"], digest(store, run).digest, len(candidates), run["trial_count"])


# -- out


def _require_still(store: Store, run: RunRow) -> None:
    if run["status"] not in _STILL:
        msg = f"run {run['id']} is {run['status']}; `rollout optimize pause {run['id']}` first"
        raise Refused(msg)
    problem = next(chain.problems(store, run["id"]), None)
    if problem is not None:
        msg = f"{problem}; a damaged run is not carried on (`rollout db check`)"
        raise InputError(msg)


def _files(run: RunRow, tables: run_tables.Tables, specs: Sequence[VerifierSpec], folder: Path) -> dict[str, bytes]:
    """The recording, what the log_dir says of the set-up, the source of the target and of the checks' functions."""
    name = "target.json" if StoredRun(run).written.get("target_url") else "target.py"
    found = {f"{package.FILES}{name}": str(run_tables.typed(tables)["targets"][0]["source"]).encode("utf-8", "replace")}
    if checks := _check_sources(specs, folder):
        found[f"{package.FILES}{package.CHECKS}"] = checks.encode("utf-8", "replace")
    if run["recording"] is not None:
        recording = folder / run["recording"]
        if not recording.is_file():
            msg = f"the recording of run {run['id']} is not at {recording}; put it back to export the run"
            raise InputError(msg)
        found[package.FILES + _recording_name(run)] = recording.read_bytes()
    set_up = folder / (run["log_dir"] or ".") / "run.json"
    if run["log_dir"] and set_up.is_file():
        found[f"{package.FILES}run.json"] = set_up.read_bytes()
    return found


def _check_sources(specs: Sequence[VerifierSpec], folder: Path) -> str:
    """The modules of the `python` checks that lie below `folder`, as a target's source is written; without secrets.

    What is installed is not the run's: it is named by its version.
    """
    functions = [check.params["function"] for spec in specs for check in spec.checks if check.type == "python"]
    found = {}
    for module in dict.fromkeys(str(name).partition(":")[0] for name in functions):
        for path in filter(lambda path: (folder / path).is_file(), _places(module)):
            source = (folder / path).read_text(encoding="utf-8", errors="replace")
            redactor = Redactor(os.environ)
            redactor.learn(sorted(credentials_in(source)))
            found[path] = redactor.text(source)
    return joined(found)


def _places(module: str) -> Iterator[str]:
    """Where a module and the packages around it may lie, relative to the folder that it is imported from."""
    parts = module.split(".")
    yield from ("/".join([*parts[:depth], "__init__.py"]) for depth in range(1, len(parts) + 1))
    yield "/".join(parts) + ".py"


def _run_of(tables: run_tables.Tables) -> RunRow:
    """The row of the run, as far as it is one: what a bundle says is checked when it is inserted."""
    return run_tables.typed(tables)["runs"][0]


def _recording_name(run: RunRow) -> str:
    return "recording.yaml" if run["attempt"] <= 1 else f"recording-{run['attempt']}.yaml"


def _make_at_home(run: RunRow, members: Mapping[str, bytes]) -> None:
    """Name the places that the run's files have after an import, instead of those on this machine."""
    recording = _recording_name(run)
    run["log_dir"] = f".rollout/{run['id']}"
    run["recording"] = f"{run['log_dir']}/{recording}" if package.FILES + recording in members else None
    config = dict(StoredRun(run).written)
    places = {name: None for name in ("log_dir", "recording") if name in config}
    run["config_json"] = json.dumps(config | places, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _write(file: Path, data: bytes) -> None:
    try:
        with replaced(file) as draft:
            draft.write_bytes(data)
    except OSError as error:
        msg = f"{file} cannot be written ({error.strerror or error}); give another file"
        raise InputError(msg) from error


# -- in


def _source_files(tables: run_tables.Tables, checks: bytes) -> dict[str, bytes]:
    """The files of the module that registered the target, and of the checks, each at its place; a target of another
    kind has none.
    """
    found = files_of(checks.decode("utf-8", "replace"))
    if StoredRun(_run_of(tables)).written.get("modules"):
        found |= files_of(str(run_tables.typed(tables)["targets"][0]["source"]))
    return {f"{KEPT_SOURCE}/{path}": source.encode("utf-8", "replace") for path, source in found.items()}


def _require_run(file: Path, manifest: package.BundleManifest, tables: run_tables.Tables) -> None:
    runs = run_tables.typed(tables)["runs"]
    if [run.get("id") for run in runs] != [manifest["run_id"]]:
        msg = f"{file}: tables/runs.jsonl is not of the run that the manifest names"
        raise InputError(msg)
    status = runs[0].get("status")
    if status not in _STILL:
        msg = (
            f"{file}: its run says that it is {status}; an import brings a run that stands still: pause it where it "
            "is, and export it again"
        )
        raise InputError(msg)


def _require_unchanged(store: Store, run_id: str, tables: run_tables.Tables, file: Path) -> None:
    """The run that is here is the one in the bundle, apart from where its files are."""
    here = run_tables.gather(store, run_id)
    places = {name: tables["runs"][0].get(name) for name in ("log_dir", "recording", "config_json")}
    here["runs"][0] |= places
    different = run_tables.difference(here, tables)
    if different is not None:
        msg = f"run {run_id} is in {store.path} already, and its {different} differ from {file}; give another --db"
        raise Refused(msg)


def _require_digest(store: Store, manifest: package.BundleManifest, file: Path) -> None:
    """The chain holds and the digest is what it was, as seen in the transaction that is about to be committed."""
    problem = next(chain.problems(store, manifest["run_id"]), None)
    if problem is not None:
        msg = f"{file}: {problem}"
        raise InputError(msg)
    made_as = manifest.get("digest_format", 1)
    if made_as != FORMAT:
        msg = f"{file}: its digest is of format {made_as}, ours of format {FORMAT}; use the version that made it"
        raise InputError(msg)
    seen: Digest = digest(store, reads.run(store, manifest["run_id"]))
    if seen.digest != manifest["digest"]:
        said = manifest.get("tables")
        other = [name for name, one in seen.tables.items() if not isinstance(said, dict) or said.get(name) != one]
        msg = f"{file}: its rows give another digest than its manifest names ({', '.join(other) or 'manifest.json'})"
        raise InputError(msg)


@contextlib.contextmanager
def _faults_named(file: Path) -> Iterator[None]:
    try:
        yield
    except RolloutError:
        raise
    except Exception as error:  # a row that breaks the database's rules: the driver's errors have their door in store
        msg = f"{file}: its rows do not fit ({type(error).__name__}: {error})"
        raise InputError(msg) from error


@contextlib.contextmanager
def _placed(home: Path, files: Mapping[str, bytes]) -> Iterator[None]:
    """Files below `home`, gone again where the block fails; those that are there already must be the same."""
    made: list[Path] = []
    try:
        for name, data in files.items():
            _place(home, name, data, made)
        yield
    except BaseException:
        for path in reversed(made):
            path.rmdir() if path.is_dir() else path.unlink()
        raise


def _place(home: Path, name: str, data: bytes, made: list[Path]) -> None:
    path = home / name
    folders = [folder for folder in path.parents if folder == home.parent or folder.is_relative_to(home)]
    if any(place.is_symlink() for place in (path, *folders)):
        msg = f"{path} is, or is behind, a symbolic link; import into another folder"
        raise Refused(msg)
    if path.exists():
        if not path.is_file() or path.read_bytes() != data:
            msg = f"{path} is there already and differs; move it away, or import into another folder"
            raise Refused(msg)
        return
    try:
        made += _make_folders(folders)
        with path.open("xb") as file:
            made.append(path)
            file.write(data)
    except OSError as error:
        msg = f"{path} cannot be written ({error.strerror or error})"
        raise InputError(msg) from error


def _make_folders(folders: Sequence[Path]) -> list[Path]:
    """Make the innermost of `folders` (which stands first) and those around it; those that were not there."""
    made = [folder for folder in reversed(folders) if not folder.exists()]
    folders[0].mkdir(parents=True, exist_ok=True)
    return made
