"""A starter around the user's own table, for `rollout init --from`: the table, a target, a verifier, what to type.

The columns are guessed where they are not named, and the guess is said; the target's prompt and the verifier's checks
are a beginning, for the user to replace.
"""

from __future__ import annotations

import json
import shlex
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rollout_local.datasets import (
    Roles,
    divide,
    is_table,
    read_table,
    repeats,
    roles_of,
    rows_of,
    splits_text,
    table_name,
)
from rollout_local.datasets.names import safe_name
from rollout_local.domain.dataset import TABLE_FILES, Columns, Dataset, Split
from rollout_local.errors import InputError

_TEMPLATES = Path(__file__).with_name("table_starter")
_LEAST_ROWS = 6
"""Fewer rows leave a split with nothing to learn from or to decide on."""


@dataclass(frozen=True)
class TableStarter:
    """What a starter is made of: the file, what its columns are, and the tasks that they make."""

    table: Path
    roles: Roles
    dataset: Dataset
    split: Split

    @property
    def files(self) -> Mapping[str, bytes]:
        """The content of each file of the starter, by its name."""
        words = {
            "title": self.table.stem, "table": self.table.name, "rows": str(len(self.dataset.tasks)),
            "question": self.roles.question, "answer": self.roles.answer,
            "split": ", ".join(f"{name} {n}" for name, n in self.split.sizes().items()),
            "dry_run": self.command("dry-run"), "run": self.command("run"),
        }  # fmt: skip
        code = {
            "id": json.dumps(safe_name(self.table.stem, "agent"), ensure_ascii=False),
            "description": json.dumps(f"Answers with the {self.roles.answer} of a row's {self.roles.question}."),
            "baseline": json.dumps(self._baseline(), ensure_ascii=False),
        }
        return {
            "target.py": _filled("target.py.template", code),
            "verifier.json": (json.dumps(self._verifier(), indent=2, ensure_ascii=False) + "\n").encode(),
            "splits.json": splits_text(self.split).encode(),
            "README.md": _filled("README.md.template", words),
            self.table.name: self.table.read_bytes(),
        }

    def command(self, verb: str) -> str:
        """The command line that works on the starter, in its folder."""
        return " ".join((
            f"rollout optimize {verb} --module target --dataset {shlex.quote(self.table.name)}",
            f"--instruction {shlex.quote(self.roles.question)} --expected {shlex.quote(self.roles.answer)}",
            "--verifier verifier.json --splits-file splits.json --task-model openai/gpt-4.1-nano",
            "--reflection-model openai/gpt-4.1 --max-metric-calls 200 --max-cost 5",
        ))  # fmt: skip

    @property
    def commands(self) -> Sequence[str]:
        """What comes next, in the folder of the starter."""
        return [self.command("dry-run"), self.command("run")]

    @property
    def summary(self) -> str:
        """The files, and what was found in the table, for the user to agree with."""
        roles = self.roles
        kinds = f", which has {len(roles.labels)} labels" if roles.labels else ""
        found = f'The question is the column "{roles.question}", the expected answer "{roles.answer}"{kinds}'
        return "\n".join(
            [
                f"{', '.join(self.files)} ({len(self.dataset.tasks)} rows).",
                f"{found}; --instruction and --expected name others.",
                *filter(None, [repeats(self.dataset)]),
                "Look at the prompt in target.py and the checks in verifier.json. Next:",
            ]
        )

    def _baseline(self) -> str:
        if self.roles.labels:
            return f"Answer with the {self.roles.answer} of the message: one of {', '.join(self.roles.labels)}."
        return "Answer the message."

    def _verifier(self) -> Mapping[str, object]:
        expected = {"from_expected": "$"}
        right = {"id": "right", "type": "equals", "weight": 1, "params": expected}
        right["message"] = f'the right {self.roles.answer} here is "{{expected}}"'
        named = {"id": "named", "type": "contains", "weight": 1, "params": expected}
        alike = {"id": "alike", "type": "similarity", "weight": 1, "params": expected}
        values = [task.expected_output for task in self.dataset.tasks]
        texts = all(isinstance(value, str) for value in values)
        checks = [right, named] if self.roles.labels else [named, alike] if texts else [right]
        name = f"{self.table.stem}: {self.roles.answer}"
        return {
            "id": safe_name(f"{self.table.stem}-{self.roles.answer}", "answer"), "name": name, "kind": "native",
            "passThreshold": 1.0, "checks": checks,
        }  # fmt: skip


def table_starter(table: Path, question: str | None, answer: str | None) -> TableStarter:
    """Read a table and find out what a starter around it has to know.

    Raises `InputError` where it is no table, its columns cannot be told, or its rows make no tasks to search with.
    """
    if not is_table(str(table)) or not table.is_file():
        problem = "is no table" if table.exists() else "does not exist"
        msg = f"{table} {problem}; give a file of {', '.join(sorted(TABLE_FILES))}"
        raise InputError(msg)
    roles = roles_of(rows_of(str(table)), question, answer, str(table))
    columns = Columns(instruction=roles.question, expected=roles.answer)
    dataset = read_table(str(table), columns, table_name(str(table)))
    if len(dataset.tasks) < _LEAST_ROWS:
        msg = (
            f"{table} has {len(dataset.tasks)} rows; a search needs {_LEAST_ROWS} at least, and 30 or more to tell luck"
        )
        raise InputError(msg)
    label = (lambda task: str(task.expected_output)) if roles.labels else None
    return TableStarter(table, roles, dataset, divide(dataset, 0, label=label))


def _filled(template: str, words: Mapping[str, str]) -> bytes:
    return string.Template((_TEMPLATES / template).read_text(encoding="utf-8")).substitute(words).encode()
