"""`rollout db seal`: where every run's journal ends, in a file to be kept in another place than the database.

A chain finds accidents. Who writes all of a journal anew, chain and all, or cuts off its end leaves a chain that holds;
but not the head that a file elsewhere names, which a signature keeps from being written anew as well.

    {"format": 1, "made_at": "2026-01-31T12:00:00.000Z",
     "runs": {"opt_…": {"entries": 312, "chain": "9f…"}}}
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rollout_local import limits, signatures
from rollout_local.domain.validation import first_problem
from rollout_local.errors import InputError
from rollout_local.store import chain, deletion, reads
from rollout_local.store.schema import Store


class Head(BaseModel):
    """The end of one journal: its number of entries, and the chain after the last of them."""

    model_config = ConfigDict(extra="forbid")
    entries: Annotated[int, Field(ge=0)]
    chain: Annotated[str, Field(pattern="[0-9a-f]{64}")]


class Heads(BaseModel):
    """The ends of journals, by run id, as they were at `made_at`."""

    model_config = ConfigDict(extra="forbid")
    format: Literal[1] = 1
    made_at: str
    runs: Mapping[str, Head]


def write(store: Store, references: Sequence[str], file: Path, made_at: str) -> Heads:
    """Write the heads of these runs (of all, where none is named) to the new file `file`.

    Raises `InputError` where a journal does not hold, `file` exists or cannot be written.
    """
    with store.snapshot():
        found = chain.heads(store)
        wanted = [reads.run(store, one)["id"] for one in references] or list(found)
        for run_id in wanted:
            problem = next(chain.problems(store, run_id), None)
            if problem is not None:
                msg = f"{problem}; a damaged journal is not sealed (`rollout db check`)"
                raise InputError(msg)
    heads = {run_id: Head(entries=found[run_id][0], chain=found[run_id][1]) for run_id in wanted}
    made = Heads(made_at=made_at, runs=heads)
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(json.dumps(made.model_dump(mode="json"), indent=2, sort_keys=True) + "\n")
    except FileExistsError as error:
        msg = f"{file} exists; give a file that does not"
        raise InputError(msg) from error
    except OSError as error:
        msg = f"{file} cannot be written ({error.strerror or error})"
        raise InputError(msg) from error
    return made


def read(file: Path, signed_by: Path | None = None) -> Heads:
    """The heads in a file of `write`; `InputError` where it is none, and as `require_signature` raises."""
    if signed_by is not None:
        signatures.require_signature(file, signed_by)
    try:
        return Heads.model_validate_json(limits.read(file, "text file"))
    except limits.TooLarge as error:
        msg = f"{file} {error}"
    except OSError as error:
        msg = f"{file} cannot be read ({error.strerror or error})"
    except ValidationError as error:
        place, words = first_problem(error)
        msg = f"{file} is no file of `rollout db seal`: {place or 'as a whole'}: {words}"
    raise InputError(msg)


def problems(store: Store, heads: Heads) -> Iterator[str]:
    """Sentences for every run whose journal does not go on from its head."""
    seal = f"the seal of {heads.made_at}"
    found = chain.heads(store)
    for run_id, head in sorted(heads.runs.items()):
        entries, _ = found.get(run_id, (0, chain.START))
        if run_id not in found:
            gone = deletion.record(store, run_id)
            how = f"was deleted by {gone['actor']} at {gone['at']}" if gone else "is gone"
            yield f"run {run_id} {how}: {seal} knows of it, with {head.entries} journal entries"
        elif entries < head.entries:
            yield (
                f"run {run_id}: its journal has {entries} entries, {seal} knows of {head.entries}: its end was"
                " cut off, or the database is older"
            )
        elif head.entries and chain.at(store, run_id, head.entries) != head.chain:
            yield (f"run {run_id}: its journal was written anew: entry {head.entries} is not the one that {seal} knows")
