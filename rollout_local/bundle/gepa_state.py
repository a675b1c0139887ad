"""`gepa_state.bin`, the pickle that plain `dspy.GEPA(log_dir=…)` leaves, read without running anything of it.

A pickle is a program; this reader admits the names of plain containers alone and refuses every other one by its
name before it is looked up, so that nothing is imported or called that a log could choose. What comes out is checked
field by field (gepa 0.1.4, `core/state.py`; older layouts have lists where it has dicts).
"""

from __future__ import annotations

import collections
import io
import math
import pickle
import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeGuard

from rollout_local import limits
from rollout_local.documents import parse_json, read_text
from rollout_local.errors import InputError

STATE, CANDIDATES = "gepa_state.bin", "candidates.json"
ADMITTED: dict[tuple[str, str], Callable[..., object]] = {
    ("collections", "defaultdict"): collections.defaultdict,
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("collections", "Counter"): collections.Counter,
    **{
        (module, kind.__name__): kind
        for module in ("builtins", "__builtin__")
        for kind in (dict, list, tuple, set, frozenset, bool, int, float)
    },
}
"""The only names that a log may mention."""


@dataclass(frozen=True)
class GepaProposal:
    """One reflection: means of its minibatch before and after; `child` where it was accepted."""

    iteration: int
    parent: int
    child: int | None
    before: float
    after: float


@dataclass(frozen=True)
class GepaState:
    """What a search of plain GEPA found. Candidates are named by position, validation tasks by their id as text."""

    candidates: tuple[dict[str, str], ...]
    parents: tuple[tuple[int, ...], ...]
    scores: tuple[dict[str, float], ...]
    discovered_at: tuple[int, ...]
    proposals: tuple[GepaProposal, ...]
    metric_calls: int


def read_state(folder: Path) -> tuple[GepaState, bytes]:
    """The state in a log_dir, and its bytes; raises `InputError` where it is missing, damaged or not plain."""
    file = folder / STATE
    if not file.is_file():
        _refuse(f"{folder} has no {STATE}, so it is not a log_dir of dspy.GEPA; give the folder that log_dir= named")
    try:
        data = limits.read(file, "GEPA state")
    except limits.TooLarge as error:
        _refuse(f"{file} {error}")
    except OSError as error:
        _refuse(f"{file} cannot be read: {error.strerror or error}")
    state = _Fields(file, _unpickled(file, data)).state()
    _require_same_candidates(folder, state)
    return state, data


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> object:
        try:
            return ADMITTED[module_name, global_name]
        except KeyError:
            msg = (
                f"it names {module_name}.{global_name}, and only plain containers, numbers and texts are read; a log "
                "written without track_best_outputs, use_cloudpickle and cache_evaluation holds nothing else"
            )
            raise pickle.UnpicklingError(msg) from None


def _unpickled(file: Path, data: bytes) -> object:
    try:
        _measure(data)
        return _PlainUnpickler(io.BytesIO(data)).load()
    except Exception as error:  # noqa: BLE001 - damaged bytes raise nearly anything; all of it is the file's fault
        _refuse(f"{file} cannot be read: {str(error) or type(error).__name__}")


def _measure(data: bytes) -> None:
    """Refuse a pickle whose few bytes ask for much memory: lengths beyond its end, places that it has not filled.

    `pickletools` reads the lengths against what is there; the unpickler makes room for them, and for the places, first.
    """
    for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        if opcode.name in _PLACES and (argument or 0) > count:
            msg = f"it fills place {argument} of its memory with {count} values"
            raise pickle.UnpicklingError(msg)


_PLACES = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})


def _require_same_candidates(folder: Path, state: GepaState) -> None:
    """GEPA writes `candidates.json` right after the state: it may be one save behind, and otherwise equal."""
    file = folder / CANDIDATES
    if not file.exists():
        return
    listed = parse_json(read_text(file), file)
    if not isinstance(listed, list) or listed != list(state.candidates[: len(listed)]):
        _refuse(f"{file} has other candidates than {STATE} beside it; one of the two is not of this run")


class _Fields:
    """The pickled dict, field by field."""

    def __init__(self, file: Path, value: object) -> None:
        self._file = file
        if not isinstance(value, Mapping) or "program_candidates" not in value:
            _refuse(f"{file} is not a state of GEPA: it has no program_candidates")
        self._value = value

    def state(self) -> GepaState:
        candidates = tuple(self._texts(number, one) for number, one in enumerate(self._list("program_candidates")))
        if not candidates:
            self._wrong("program_candidates", "is empty")
        parents = tuple(self._parents(n, one) for n, one in enumerate(self._list("parent_program_for_candidate")))
        scores = tuple(self._scores(n, one) for n, one in enumerate(self._list("prog_candidate_val_subscores")))
        discovered = tuple(self._count("num_metric_calls_by_discovery", n) for n in self._list(
            "num_metric_calls_by_discovery"))  # fmt: skip
        if not len(candidates) == len(parents) == len(scores) == len(discovered):
            self._wrong("program_candidates", "and the lists beside it differ in length")
        total = self._count("total_num_evals", self._value.get("total_num_evals", discovered[-1]))
        return GepaState(candidates, parents, scores, discovered, self._proposals(parents), total)

    def _list(self, name: str) -> list[object]:
        value = self._value.get(name)
        return value if isinstance(value, list) else self._wrong(name, "is not a list")

    def _texts(self, number: int, value: object) -> dict[str, str]:
        if not isinstance(value, Mapping) or not value or not _all_texts(value.keys(), value.values()):
            self._wrong("program_candidates", f"holds no texts by component at {number}")
        return dict(value)

    def _parents(self, number: int, value: object) -> tuple[int, ...]:
        found = [parent for parent in value if parent is not None] if isinstance(value, list | tuple) else [number]
        if not all(type(parent) is int and 0 <= parent < number for parent in found):
            self._wrong("parent_program_for_candidate", f"names no earlier candidate at {number}")
        return tuple(dict.fromkeys(found))

    def _scores(self, number: int, value: Any) -> dict[str, float]:
        by_id = dict(enumerate(value)) if isinstance(value, list) else value
        if not isinstance(by_id, Mapping):
            self._wrong("prog_candidate_val_subscores", f"holds no scores by task at {number}")
        named = {self._task(key): self._score(number, score) for key, score in by_id.items()}
        if len(named) < len(by_id):
            self._wrong("prog_candidate_val_subscores", f"holds two tasks of one name at {number}")
        return named

    def _task(self, key: object) -> str:
        if isinstance(key, str) or type(key) is int:
            return str(key)
        if isinstance(key, tuple) and key and all(isinstance(part, str) or type(part) is int for part in key):
            return "-".join(map(str, key))
        return self._wrong("prog_candidate_val_subscores", "names a task by something else than a number or a text")

    def _score(self, number: int, value: object) -> float:
        if not isinstance(value, bool | int | float) or not math.isfinite(value):
            self._wrong("prog_candidate_val_subscores", f"holds a score that is no number, of candidate {number}")
        return float(value)

    def _count(self, name: str, value: object) -> int:
        if type(value) is not int or not 0 <= value < 2**53:
            self._wrong(name, "holds something else than a count")
        return value

    def _proposals(self, parents: tuple[tuple[int, ...], ...]) -> tuple[GepaProposal, ...]:
        """The reflections of the trace, as far as it tells them; the log of an older gepa may not."""
        found: list[GepaProposal] = []
        for entry in self._value.get("full_program_trace") or ():
            if isinstance(entry, Mapping) and isinstance(entry.get("tasks"), list) and type(entry.get("i")) is int:
                found += _judged(entry, parents)
        return tuple(found)

    def _wrong(self, name: str, what: str) -> NoReturn:
        _refuse(f"{self._file} is not a state of GEPA that can be read here: {name} {what}")


def _judged(entry: Mapping[str, Any], parents: tuple[tuple[int, ...], ...]) -> list[GepaProposal]:
    """The reflections of one iteration; an accepted one's child is the next new candidate of the same parent."""
    accepted = entry.get("new_program_indices")
    children = [new for new in accepted if _is_place(new, parents)] if isinstance(accepted, list) else []
    found = []
    for task in entry["tasks"]:
        before, after = (_mean(task, name) for name in ("subsample_scores", "new_subsample_scores"))
        parent = task.get("parent_idx") if isinstance(task, Mapping) else None
        if before is None or after is None or not _is_place(parent, parents):
            continue
        child = next((new for new in children if parents[new] == (parent,)), None)
        if child is not None:
            children.remove(child)
        found.append(GepaProposal(entry["i"], parent, child, before, after))
    return found


def _mean(task: object, name: str) -> float | None:
    scores = task.get(name) if isinstance(task, Mapping) else None
    if not isinstance(scores, list) or not scores or not all(isinstance(score, int | float) for score in scores):
        return None
    mean = math.fsum(scores) / len(scores)
    return mean if math.isfinite(mean) else None


def _is_place(value: object, places: tuple[object, ...]) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < len(places)


def _all_texts(*groups: Any) -> bool:
    return all(isinstance(text, str) for group in groups for text in group)


def _refuse(message: str) -> NoReturn:
    raise InputError(message) from None
