"""What you wrote: Harbor folders, tables that become them, and the split of their tasks.

Start with `harbor` (a folder is a Dataset and back), then `sources` (csv, jsonl, parquet or the Hugging Face
hub into such a folder), then `splits` (which tasks a search may see) and `similar` (which
of them ask nearly the same). Everything that is read here is read
strictly: what cannot be kept exactly is refused with the file, the line and what to do about it.
"""

from rollout_local.datasets.harbor import read_folder, write_folder
from rollout_local.datasets.rows import read_dataset
from rollout_local.datasets.sources import pull, repeats
from rollout_local.datasets.splits import (
    check_leakage,
    divide,
    limit,
    make_split,
    read_splits,
    write_splits,
)
from rollout_local.domain.dataset import Columns

__all__ = [
    "Columns", "check_leakage", "divide", "limit", "make_split", "pull", "read_dataset", "read_folder", "read_splits",
    "repeats", "write_folder", "write_splits",
]  # fmt: skip
