"""Harbor folders and datasets, made by hand."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rollout_local.domain.dataset import Dataset, Task


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """`folder(task={...}, manifest="...")`: a Harbor folder with one task, `refund`."""

    def make(task: Any = None, manifest: str | None = None, raw: bytes | None = None, name: str = "refunds") -> Path:
        root = tmp_path / name
        (root / "refund").mkdir(parents=True)
        text = 'name = "Refunds"\nslug = "refunds"\n[[tasks]]\nname = "refund"\npath = "refund"\n'
        (root / "dataset.toml").write_text(text if manifest is None else manifest, encoding="utf-8")
        body = json.dumps({"instruction": "Help."} if task is None else task).encode() if raw is None else raw
        (root / "refund" / "task.json").write_bytes(body)
        return root

    return make


@pytest.fixture
def dataset() -> Callable[..., Dataset]:
    """`dataset(12)`: tasks t0 … t11 with different questions."""

    def make(count: int, slug: str = "numbers", start: int = 0) -> Dataset:
        tasks = tuple(Task(name=f"t{n}", instruction=f"{slug} {n}") for n in range(start, start + count))
        return Dataset(name=slug, slug=slug, tasks=tasks)

    return make
