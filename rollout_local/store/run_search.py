"""Finding runs by words: each must stand in the name, id, target, reference, note, a tag or a prompt of the run.

Capital and small letters of the Latin alphabet are the same.
"""

from __future__ import annotations

import json

_FIELDS = ("r.id", "r.name", "r.target_id", "r.run_ref")
TAGS = "CASE WHEN json_valid(r.tags_json) THEN r.tags_json ELSE '[]' END"
"""Tags as a JSON array, whatever others made of the row."""


def patterns(text: str | None) -> str:
    """The words of a search as a JSON array of patterns, to be given to what `condition` makes; `[]` finds all."""
    escaped = (text or "").replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    return json.dumps([f"%{word}%" for word in escaped.split()], ensure_ascii=False)


def condition(parameter: str, *, notes: bool = True) -> str:
    """A condition on a row `r` of runs. `notes`: the file has the column; those of earlier versions have not."""
    fields = [*_FIELDS, *(["r.note"] if notes else [])]
    alike = " OR ".join(f"coalesce({field}, '') {_LIKE}" for field in fields)
    return (
        f"NOT EXISTS (SELECT 1 FROM json_each({parameter}) w WHERE NOT ({alike}"
        f" OR EXISTS (SELECT 1 FROM json_each({TAGS}) t WHERE t.value {_LIKE})"
        f" OR EXISTS (SELECT 1 FROM candidates p WHERE p.run_id = r.id AND p.text {_LIKE})))"
    )


_LIKE = r"LIKE w.value ESCAPE '\'"
