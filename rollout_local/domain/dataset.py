"""Task, Dataset and Split: what an agent is asked, and which of it a search may see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from rollout_local.domain.identity import content_hash

SplitName = Literal["train", "val", "holdout"]
SPLITS: tuple[SplitName, ...] = ("train", "val", "holdout")


class Value(BaseModel):
    """A frozen value that refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=False)


class Task(Value):
    """One thing an agent is asked to do.

    `input` and `metadata` are JSON objects; `split` is filled in by the run. Either of `instruction` and
    `input` may be empty, not both.
    """

    name: str
    instruction: str = ""
    input: dict[str, Any] = Field(default_factory=dict)
    metadata: dict[str, Any] = Field(default_factory=dict)
    expected_output: Any = None
    expected_output_schema: dict[str, Any] | None = None
    split: SplitName | None = None

    @property
    def content(self) -> dict[str, Any]:
        """Everything that the task says, without its place in a split: what its hash is over."""
        return self.model_dump(exclude={"split"})

    @property
    def question(self) -> dict[str, object]:
        """What the agent is shown: two tasks with equal questions are the same task under two names."""
        return {"instruction": self.instruction, "input": self.input}


TABLES = {"csv": "FILE", "tsv": "FILE", "json": "FILE", "jsonl": "FILE", "parquet": "FILE", "hf": "NAME"}
"""What a dataset may be read from: the scheme, and what stands behind its colon. `datasets.sources` reads each."""
TABLE_FILES = frozenset(scheme for scheme, address in TABLES.items() if address == "FILE")
"""Schemes whose address is a file, which has the scheme as its suffix too."""


@dataclass(frozen=True)
class Columns:
    """Which column of a table becomes what. `inputs` and `metadata` map a task's key to a column.

    `name` is the column that names the tasks (default: `task-0001` …), `limit` the number of rows to take. Of rows that
    ask the same `drop_duplicates` keeps the first. `split`, `config` and `revision` choose what is loaded from the
    Hugging Face hub.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    instruction: str | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    name: str | None = None
    expected: str | None = None
    limit: int | None = None
    split: str | None = None
    config: str | None = None
    revision: str | None = None
    drop_duplicates: bool = False

    def used(self) -> list[str]:
        """Every column that is asked for, in order."""
        single = [self.instruction, self.name, self.expected]
        return [*filter(None, single), *self.inputs.values(), *self.metadata.values()]


class Dataset(Value):
    """A named list of tasks; its version is the hash of its content."""

    name: str
    slug: str
    tasks: tuple[Task, ...]

    @cached_property
    def content_hash(self) -> str:
        """`sha256:…` over slug and tasks in their order; the display name does not count."""
        return content_hash({"slug": self.slug, "tasks": [task.content for task in self.tasks]})

    @cached_property
    def by_name(self) -> dict[str, Task]:
        """Task by name."""
        return {task.name: task for task in self.tasks}


class Split(Value):
    """Names of the tasks that are searched on (train), selected on (val) and decided on (holdout)."""

    train: tuple[str, ...]
    val: tuple[str, ...]
    holdout: tuple[str, ...]
    note: str = ""
    """A sentence for the user where the split was not entirely their own, for example how val was made."""

    def names(self, split: SplitName) -> tuple[str, ...]:
        """The task names of one split, in order."""
        names: tuple[str, ...] = getattr(self, split)
        return names

    def sizes(self) -> dict[SplitName, int]:
        """`{"train": n, "val": n, "holdout": n}`."""
        return {split: len(self.names(split)) for split in SPLITS}
