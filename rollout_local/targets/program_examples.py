"""`dspy.Example` lists as a dataset: what is asked are the inputs, what is known are the labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rollout_local.domain.dataset import SPLITS, Dataset, Task
from rollout_local.domain.identity import canonical_json, content_hash
from rollout_local.errors import InputError

ALIASES = {"trainset": "train", "valset": "val", "testset": "holdout", "devset": "val", "test": "holdout"}


def dataset_of(examples: Any, slug: str) -> tuple[Dataset, dict[str, list[str]] | None]:
    """The dataset that a target's `examples` are, and the names of its splits where they were given by split.

    A task is named by its content, so that adding examples renames none. Raises `InputError` naming the example
    that cannot be a task.
    """
    given = _made(examples, slug) if callable(examples) else examples
    if not isinstance(given, Mapping):
        return Dataset(name=slug, slug=slug, tasks=tuple(_tasks(given, "examples", slug))), None
    unknown = [name for name in given if ALIASES.get(name, name) not in SPLITS]
    if unknown:
        msg = f"target {slug!r}: examples has {unknown[0]!r}; its keys are train, val and holdout"
        raise InputError(msg)
    by_split = {str(ALIASES.get(name, name)): _tasks(listed, name, slug) for name, listed in given.items()}
    tasks = {task.name: task for listed in by_split.values() for task in listed}
    splits = {name: [task.name for task in listed] for name, listed in by_split.items()}
    return Dataset(name=slug, slug=slug, tasks=tuple(tasks.values())), splits


def _made(examples: Callable[[], object], slug: str) -> Any:
    try:
        return examples()
    except Exception as error:
        msg = f"target {slug!r}: making its examples failed: {type(error).__name__}: {error}"
        raise InputError(msg) from error


def _tasks(examples: Iterable[Any], where: str, slug: str) -> list[Task]:
    tasks: dict[str, Task] = {}
    for number, example in enumerate(examples):
        task = _task(example, f"target {slug!r}: {where}[{number}]")
        if task.name in tasks:
            msg = f"target {slug!r}: {where}[{number}] is the same as an example before it; leave one of them out"
            raise InputError(msg)
        tasks[task.name] = task
    return list(tasks.values())


def _task(example: Any, where: str) -> Task:
    try:
        inputs, labels = dict(example.inputs().items()), dict(example.labels().items())
    except (AttributeError, ValueError):
        msg = f"{where} is no dspy.Example with inputs; make one with dspy.Example(…).with_inputs(…)"
        raise InputError(msg) from None
    try:
        name = content_hash({"inputs": inputs, "labels": labels})[7:19]
        canonical_json(inputs)
    except (TypeError, ValueError) as error:
        msg = f"{where} has a value that JSON cannot hold ({error}); give text, numbers, lists and dicts"
        raise InputError(msg) from error
    return Task(name=f"example-{name}", input=inputs, expected_output=labels or None)
