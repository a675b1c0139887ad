"""`rollout verifiers`: register a verifier, try it on an output, and see what every type of check takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

from rollout_local.cli.options import common, database, plain, print_json, print_table
from rollout_local.cli.stdout import prints_aside
from rollout_local.domain.validation import first_problem
from rollout_local.errors import InputError
from rollout_local.reports.escape import visible

if TYPE_CHECKING:
    from rollout_local.domain.dataset import Task
    from rollout_local.domain.verdict import Verdict, VerifierSpec
    from rollout_local.verifiers.checks import CheckType
    from rollout_local.verifiers.params import Param

FILE = click.Path(path_type=Path)


class VerifierSummary(TypedDict):
    """A verifier without its checks."""

    id: str
    name: str
    check_count: int
    pass_threshold: float
    content_hash: str


class ListedVerifier(VerifierSummary):
    """A verifier in the database."""

    created_at: str


class StoredVerifier(TypedDict):
    """What a verifier in the database has beside its spec."""

    content_hash: str
    created_at: str


class HowTold(TypedDict):
    """How `test` tells of a verdict."""

    as_json: bool
    quiet: bool
    no_color: bool


@click.group()
def verifiers() -> None:
    """Register, try and explain verifiers: how good an output is, and in words why it is not perfect."""


@verifiers.command()
@click.argument("file", metavar="FILE", type=FILE)
@common
def create(file: Path, db_path: Path, as_json: bool, **_options: object) -> None:
    """Keep the verifier in FILE in the database; the same content is one verifier."""
    spec, is_new = _registered(file, db_path)
    if as_json:
        print_json({"is_new": is_new, **_summary(spec)})
    elif is_new:
        click.echo(visible(f"Created verifier {spec.id} · pass_threshold {spec.pass_threshold}"))
    else:
        click.echo(visible(f"Verifier {spec.id} is registered already (unchanged)"))


@verifiers.command("list")
@common
def list_(db_path: Path, as_json: bool, no_color: bool, **_options: object) -> None:
    """Show every verifier in the database."""
    rows = _rows(db_path)
    if as_json:
        print_json(rows)
        return
    cells = [
        (r["id"], r["name"], r["check_count"], r["pass_threshold"], r["content_hash"][:19], r["created_at"])
        for r in rows
    ]
    print_table(("id", "name", "checks", "passes from", "hash", "created at"), cells, color=not no_color)


@verifiers.command()
@click.argument("reference", metavar="REF")
@common
def show(reference: str, db_path: Path, as_json: bool, no_color: bool, **_options: object) -> None:
    """Show the checks of a registered verifier; REF is its id, its name, or the beginning of its hash."""
    row, spec = _stored(reference, db_path)
    if as_json:
        print_json({**row, **spec.model_dump()})
        return
    click.echo(visible(f"{spec.id} · {spec.name} · passes from {spec.pass_threshold}"))
    click.echo(f"{row['content_hash']}, created at {row['created_at']}\n")
    cells = [(c.id, c.type, f"{c.weight:g}", "yes" if c.required else "", _settings(c.params)) for c in spec.checks]
    print_table(("check", "type", "weight", "required", "parameters"), cells, color=not no_color)


@verifiers.command()
@click.argument("verifier", metavar="FILE")
@click.option("--task", "task_name", required=True, metavar="T", help="A task.json, its folder, or a task's name.")
@click.option("--output", required=True, metavar="TEXT", help="What the agent answered.")
@click.option("--dataset", metavar="DIR", help="The folder, or the slug in the database, of a task given by name.")
@common
@click.pass_context
def test(
    context: click.Context,
    /,
    verifier: str,
    task_name: str,
    output: str,
    dataset: str | None,
    db_path: Path,
    **options: Unpack[HowTold],
) -> None:
    """Grade one output of one task; exit 0 where it passes, 1 where it does not.

    FILE may also be the id of a registered verifier.
    """
    spec, task = _spec(verifier, db_path), _task(task_name, dataset, db_path)
    verdict = _graded(spec, task, output, quiet=options["quiet"])
    if options["as_json"]:
        print_json({"verifier": spec.id, "task": task.name, **verdict.model_dump()})
    else:
        _print_verdict(spec, verdict, color=not options["no_color"])
    context.exit(0 if verdict.passed else 1)


@verifiers.command()
@plain
def checks(as_json: bool, no_color: bool, **_options: object) -> None:
    """Show every type of check and its parameters (* required; of those in brackets, exactly one).

    from_metadata and from_expected are paths into the task's metadata and expected output, such as a.b[0]; $ is all
    of it.
    """
    from rollout_local.verifiers import CHECKS

    if as_json:
        print_json(_check_types())
        return
    cells = [(name, ", ".join(check.aliases), _parameters(check), check.summary) for name, check in CHECKS.items()]
    print_table(("type", "also", "parameters", "what it checks"), cells, color=not no_color)
    click.echo(
        "\nfrom_metadata and from_expected are paths into the task's metadata and expected output, such as a.b[0]; $ is"
        "\nall of it. --json has every parameter in words."
    )


def _registered(file: Path, db_path: Path) -> tuple[VerifierSpec, bool]:
    from rollout_local.clock import now
    from rollout_local.store.catalog import add_verifier
    from rollout_local.verifiers import read_spec

    spec = read_spec(file)
    with database(db_path, create=True) as store:
        return spec, add_verifier(store, spec, now())["is_new"]


def _rows(db_path: Path) -> list[ListedVerifier]:
    from rollout_local.domain.verdict import VerifierSpec
    from rollout_local.store.catalog import list_verifiers

    with database(db_path, reads=True) as store:
        rows = list_verifiers(store)
    specs = [VerifierSpec.model_validate_json(row["spec_json"]) for row in rows]
    return [
        {**_summary(spec), "name": row["name"], "created_at": row["created_at"]}
        for row, spec in zip(rows, specs, strict=True)
    ]


def _stored(reference: str, db_path: Path) -> tuple[StoredVerifier, VerifierSpec]:
    from rollout_local.domain.verdict import VerifierSpec
    from rollout_local.store.catalog import find_verifier

    with database(db_path, reads=True) as store:
        row = find_verifier(store, reference)
    kept: StoredVerifier = {"content_hash": row["content_hash"], "created_at": row["created_at"]}
    return kept, VerifierSpec.model_validate_json(row["spec_json"])


def _summary(spec: VerifierSpec) -> VerifierSummary:
    return {
        "id": spec.id,
        "name": spec.name,
        "check_count": len(spec.checks),
        "pass_threshold": spec.pass_threshold,
        "content_hash": spec.content_hash,
    }


def _spec(reference: str, db_path: Path) -> VerifierSpec:
    from rollout_local.verifiers import read_spec

    is_file = Path(reference).is_file() or reference.endswith(".json") or "/" in reference or not db_path.exists()
    if is_file:
        return read_spec(reference)
    from rollout_local.planning.trust import require_verifier
    from rollout_local.store.catalog import find_verifier

    with database(db_path, reads=True) as store:
        return require_verifier(find_verifier(store, reference))


def _task(reference: str, dataset: str | None, db_path: Path) -> Task:
    from rollout_local.cli.datasets import load

    if dataset is None:
        return _task_of_file(Path(reference))
    tasks = load(dataset, db_path).by_name
    if reference not in tasks:
        shown = ", ".join(list(tasks)[:5]) + (" …" if len(tasks) > 5 else "")
        msg = f"{dataset} has no task {reference!r}; it has {len(tasks)}: {shown}"
        raise InputError(msg)
    return tasks[reference]


def _task_of_file(path: Path) -> Task:
    """The task of a task.json, or of the folder that holds it; it is named after the folder."""
    from pydantic import ValidationError

    from rollout_local.datasets.harbor import ALIASES, TASK_FILE
    from rollout_local.documents import kind_of, parse_json, read_text
    from rollout_local.domain.dataset import Task

    if not path.exists():
        msg = f"there is no task at {path}; give a task.json or its folder, or --dataset with the task's name"
        raise InputError(msg)
    file = path / TASK_FILE if path.is_dir() else path
    raw = parse_json(read_text(file), file)
    if not isinstance(raw, dict):
        msg = f"{file}: is {kind_of(raw)}; a task is an object"
        raise InputError(msg)
    values = {ALIASES.get(key, key): value for key, value in raw.items() if value is not None}
    try:
        return Task.model_validate({"name": file.resolve().parent.name, **values})
    except ValidationError as error:
        place, problem = first_problem(error)
        msg = f'{file}: "{place}": {problem}; correct it'
        raise InputError(msg) from error


def _graded(spec: VerifierSpec, task: Task, output: str, *, quiet: bool) -> Verdict:
    """The verdict; what is on the current folder can be imported by `python` checks, as it can in a run."""
    from rollout_local.domain.target import AgentResult
    from rollout_local.targets.registry import load_modules
    from rollout_local.verifiers import fits, grade

    load_modules((), Path.cwd())
    if not quiet:
        for sentence in fits([spec], [task]):
            click.echo(visible(f"note: {sentence}"), err=True)
    with prints_aside():
        return grade([spec], task, AgentResult(output=output))


def _print_verdict(spec: VerifierSpec, verdict: Verdict, *, color: bool) -> None:
    cells = [(c.id, c.type, f"{c.weight:g}", c.score, c.reason) for c in verdict.checks]
    print_table(("check", "type", "weight", "score", "why"), cells, color=color)
    said = "Passed" if verdict.passed else "Not passed"
    click.echo(f"\n{said} · score {verdict.score:.3f} (passes from {spec.pass_threshold:g})")
    missed = [c.id for c in verdict.checks if c.required and c.score < 1]
    if missed:
        click.echo(visible(f"Required, but not met: {', '.join(missed)}"))


def _check_types() -> list[dict[str, object]]:
    from rollout_local.verifiers import CHECKS

    return [
        {
            "type": name,
            "aliases": list(check.aliases),
            "summary": check.summary,
            "graded": check.graded,
            "reads": check.reads,
            "one_of": list(check.one_of),
            "params": {key: _parameter(param) for key, param in check.params.items()},
            "example": {"params": dict(check.example.params), "good": check.example.good.text},
        }
        for name, check in CHECKS.items()
    ]


def _parameter(param: Param) -> dict[str, object]:
    from rollout_local.verifiers.params import ABSENT

    default = {} if param.default is ABSENT else {"default": param.default}
    return {
        "kind": param.kind, "summary": param.summary, "required": param.required, "aliases": list(param.aliases),
        **default,
    }  # fmt: skip


def _parameters(check: CheckType) -> str:
    """`[value | from_metadata | from_expected], path*, case_sensitive=false`."""
    from rollout_local.verifiers.params import ABSENT

    names = [f"[{' | '.join(check.one_of)}]"] if check.one_of else []
    for name, param in check.params.items():
        if name not in check.one_of:
            default = "" if param.default is ABSENT else f"={json.dumps(param.default)}"
            names.append(f"{name}{'*' if param.required else ''}{default}")
    return ", ".join(names)


def _settings(params: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in params.items())
