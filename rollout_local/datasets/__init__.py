"""What you wrote: Harbor folders, tables that become them, and the split of their tasks.

Start with `harbor` (a folder is a Dataset and back), then `sources` (csv, jsonl, parquet or the Hugging Face
hub into such a folder) and `columns` (which of a table's columns are question and answer), then `splits` (which tasks a
search may see) and `similar` (which of them ask nearly the same). Everything that is read here is read strictly: what
cannot be kept exactly is refused with the file, the line and what to do about it.
"""

from rollout_local.datasets.columns import Roles, roles_of
from rollout_local.datasets.harbor import read_folder, write_folder
from rollout_local.datasets.rows import read_dataset
from rollout_local.datasets.sources import is_table, pull, read_table, repeats, rows_of, table_name
from rollout_local.datasets.splits import (
    check_leakage,
    divide,
    limit,
    make_split,
    read_splits,
    splits_text,
    write_splits,
)
from rollout_local.domain.dataset import Columns

__all__ = [
    "Columns", "Roles", "check_leakage", "divide", "is_table", "limit", "make_split", "pull", "read_dataset",
    "read_folder", "read_splits", "read_table", "repeats", "roles_of", "rows_of", "splits_text", "table_name",
    "write_folder", "write_splits",
]  # fmt: skip
