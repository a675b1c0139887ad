"""Which tasks a search may see: train (searched on), val (selected on), holdout (decided on).

Without a splits file a task's place is decided by the hash of the seed and its own name and by nothing else, so adding
or removing a task moves no other; tasks that ask nearly the same go where the first of them by name goes. No task is
in two splits, under one name or under two.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path

from rollout_local.datasets.similar import similar_groups
from rollout_local.documents import kind_of, parse_json, read_text, suggestion
from rollout_local.domain.dataset import SPLITS, Dataset, Split, SplitName, Task
from rollout_local.domain.identity import content_hash
from rollout_local.errors import InputError

RATIOS = (0.6, 0.2, 0.2)
"""Shares of train, val and holdout."""
FEWEST = 5
"""Tasks of val or holdout below which a mean over them tells little."""
_SHOWN = 5
_REMEDY = "write the split yourself with --splits-file, or let `rollout datasets split` share them out exactly"


def read_splits(path: Path | str) -> dict[str, list[str]]:
    """`{"train": [names], "val": [names], "holdout": [names]}` of a splits file; `val` may be absent.

    Raises `InputError` for other keys and wrong types; whether the names fit a dataset is for `make_split`.
    """
    file = Path(path)
    raw = parse_json(read_text(file), file)
    if not isinstance(raw, dict):
        msg = f"{file}: is {kind_of(raw)}; write an object with the lists train, val and holdout"
        raise InputError(msg)
    for key, names in raw.items():
        if key not in SPLITS:
            msg = f'{file}: unknown split "{key}"; {suggestion(key, list(SPLITS))}'
            raise InputError(msg)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            msg = f'{file}: "{key}" must be a list of task names'
            raise InputError(msg)
    return raw


def splits_text(split: Split) -> str:
    """The content of a splits file."""
    text = json.dumps({name: list(split.names(name)) for name in SPLITS}, ensure_ascii=False, indent=2)
    return f"{text}\n"


def write_splits(split: Split, path: Path | str) -> None:
    """Write a splits file that `read_splits` reads back, in one move."""
    file = Path(path)
    staged = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        staged.write_text(splits_text(split), encoding="utf-8")
        staged.replace(file)
    except OSError as error:
        msg = f"{file} cannot be written: {error.strerror or error}"
        raise InputError(msg) from error


def make_split(
    dataset: Dataset,
    seed: int,
    splits: Mapping[str, Sequence[str]] | None = None,
    ratios: tuple[float, float, float] = RATIOS,
    val_dataset: Dataset | None = None,
) -> Split:
    """The split of `dataset`, as the splits file says or else by the hash of seed and task name.

    Without val, it is the last third of train by the same hash, and the note says so. A `val_dataset` takes
    the place of val: its names are then that dataset's, while train and holdout stay what they were. Raises
    `InputError` with the names for overlaps, unknown or repeated names, and a split that is empty.
    """
    if splits is None:
        return _by_hash(dataset, seed, ratios, val_dataset)
    _check_names(dataset, splits)
    train, val, holdout = (tuple(splits.get(name, ())) for name in SPLITS)
    _refuse_empty({"train": train, "holdout": holdout}, f"the splits for {dataset.slug}", "name at least one task")
    if val_dataset is not None:
        return _with_val_of(val_dataset, train, holdout, unused=len(val))
    if val:
        return Split(train=train, val=val, holdout=holdout)
    return _val_from_train(train, holdout, seed)


def divide(
    dataset: Dataset,
    seed: int,
    ratios: tuple[float, float, float] = RATIOS,
    label: Callable[[Task], str] | None = None,
) -> Split:
    """A split with exact shares and no part empty, for a splits file: the order is the hash's.

    Unlike `make_split`, another task may move others; that is why it is written down. Tasks that ask nearly the same
    stay together, and with `label` each of its values has the same shares, as far as whole tasks go. Needs one task per
    share that is not 0; `InputError` otherwise.
    """
    _check_ratios(ratios)
    wanted = [split for split, ratio in zip(SPLITS, ratios, strict=True) if ratio > 0]
    total = len(dataset.tasks)
    if total < len(wanted):
        msg = f"{dataset.slug} has {total} tasks; {', '.join(wanted)} need one each: add tasks"
        raise InputError(msg)
    strata: dict[str, list[list[str]]] = {}
    for group in sorted(similar_groups(dataset.tasks), key=lambda names: _position(min(names), seed)):
        strata.setdefault(label(dataset.by_name[group[0]]) if label else "", []).append(group)
    parts: dict[SplitName, list[str]] = {name: [] for name in SPLITS}
    seen = 0
    for value in sorted(strata):
        seen += sum(map(len, strata[value]))
        due = _shares(total, ratios) if seen == total else [round(seen * ratio) for ratio in ratios]
        due[0] = seen - due[1] - due[2]
        _fill(parts, strata[value], {name: n - len(parts[name]) for name, n in zip(SPLITS, due, strict=True)})
    order = {name: place for place, name in enumerate(dataset.by_name)}
    found = {key: tuple(sorted(part, key=order.__getitem__)) for key, part in parts.items()}
    _refuse_empty({name: found[name] for name in wanted}, f"{dataset.slug}, kept together where alike,", "add tasks")
    return Split(**found)


def _fill(parts: dict[SplitName, list[str]], groups: Sequence[Sequence[str]], room: dict[SplitName, int]) -> None:
    """Place each group whole: in the first part that has room for it, or in the one with most room."""
    for group in groups:
        place = next((name for name in SPLITS if room[name] >= len(group)), max(SPLITS, key=lambda name: room[name]))
        parts[place] += group
        room[place] -= len(group)


def uneven(split: Split, total: int, parts: Sequence[SplitName], ratios: tuple[float, float, float] = RATIOS) -> str:
    """Where the hash put few of `total` tasks, or far from their share, into one of `parts`: a sentence; or empty."""
    sizes, shares = split.sizes(), dict(zip(SPLITS, _shares(total, ratios), strict=True))
    wanted = {name: total * ratio for name, ratio in zip(SPLITS, ratios, strict=True)}
    far = [part for part in parts if abs(sizes[part] - wanted[part]) > wanted[part] / 2]
    few = [part for part in parts if sizes[part] < FEWEST]
    if not far and not few:
        return ""
    seen = ", ".join(f"{name} {n}" for name, n in sizes.items())
    sentence = f"the split by name hash has {seen}"
    if far:
        exact = ", ".join(f"{name} {shares[name]}" for name in SPLITS)
        sentence += f"; shares of the {total} tasks would be {exact}: {_REMEDY}"
    if few and any(shares[part] < FEWEST for part in few):
        sentence += f"; fewer than {FEWEST} tasks in {' and '.join(few)} tell little: add tasks"
    elif not far:
        sentence += f"; fewer than {FEWEST} tasks in {' and '.join(few)} tell little: {_REMEDY}"
    return sentence


def check_leakage(dataset: Dataset, split: Split, val_dataset: Dataset | None = None) -> None:
    """Refuse equal questions (instruction and input) in different splits, naming the pairs."""
    asked: dict[str, list[tuple[str, str]]] = {}
    for part in SPLITS:
        owner = val_dataset if part == "val" and val_dataset is not None else dataset
        for name in split.names(part):
            asked.setdefault(content_hash(owner.by_name[name].question), []).append((part, name))
    pairs = [pair for places in asked.values() for pair in combinations(places, 2) if pair[0][0] != pair[1][0]]
    if pairs:
        shown = ", ".join(f'"{a}" ({first}) and "{b}" ({second})' for (first, a), (second, b) in pairs[:_SHOWN])
        msg = (
            f"the same question stands in two splits: {shown}{_more(pairs)}; remove one of each, "
            "or put them in the same split with --splits-file"
        )
        raise InputError(msg)


def limit(split: Split, n: int) -> Split:
    """The first `n` (at least 1) names of each split, for smoke tests; the note says so where it cut."""
    if n < 1:
        msg = f"--max-tasks {n} leaves no tasks; give at least 1"
        raise InputError(msg)
    if max(split.sizes().values()) <= n:
        return split
    note = f"{split.note} Each split was cut to its first {n} (--max-tasks).".strip()
    return Split(train=split.train[:n], val=split.val[:n], holdout=split.holdout[:n], note=note)


def _by_hash(dataset: Dataset, seed: int, ratios: tuple[float, float, float], val_dataset: Dataset | None) -> Split:
    _check_ratios(ratios)
    parts: dict[str, list[str]] = {name: [] for name in SPLITS}
    places = {
        name: _place(_position(min(group), seed), ratios) for group in similar_groups(dataset.tasks) for name in group
    }
    for name in dataset.by_name:
        parts[places[name]].append(name)
    train, val, holdout = (tuple(parts[name]) for name in SPLITS)
    needed = {"train": train, "holdout": holdout}
    if ratios[1] > 0 and val_dataset is None:
        needed = {"train": train, "val": val, "holdout": holdout}
    where = f"the split by name hash (seed {seed}) of the {len(dataset.tasks)} tasks of {dataset.slug}"
    _refuse_empty(needed, where, _REMEDY)
    if val_dataset is not None:
        return _with_val_of(val_dataset, train, holdout, unused=len(val))
    return Split(train=train, val=val, holdout=holdout) if val else _val_from_train(train, holdout, seed)


def _position(name: str, seed: int) -> float:
    """Where the hash puts a task, in [0, 1)."""
    digest = hashlib.sha256(f"{seed}\0{name}".encode("utf-8", "surrogatepass")).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def _place(position: float, ratios: tuple[float, float, float]) -> str:
    if position < ratios[0]:
        return "train"
    return "val" if position < ratios[0] + ratios[1] else "holdout"


def _shares(total: int, ratios: tuple[float, float, float]) -> list[int]:
    """How many of `total` each split gets: rounded down, at least 1 where asked for, the rest to train."""
    counts = [max(1, math.floor(total * ratio + 1e-9)) if ratio > 0 else 0 for ratio in ratios]
    counts[0] += total - sum(counts)
    while counts[0] < 1:
        largest = 1 if counts[1] > counts[2] else 2
        counts[largest] -= 1
        counts[0] += 1
    return counts


def _val_from_train(train: tuple[str, ...], holdout: tuple[str, ...], seed: int) -> Split:
    if len(train) < 2:
        msg = f'train has only "{train[0]}" and there is no val; name tasks for val, or at least 2 for train'
        raise InputError(msg)
    count = max(1, len(train) // 3)
    chosen = set(sorted(train, key=lambda name: _position(name, seed))[-count:])
    note = (
        f"No val was given: {count} of the {len(train)} train tasks (the last third by hash) are val, so that "
        "the search does not select on the tasks that it searches on."
    )
    return Split(
        train=tuple(name for name in train if name not in chosen),
        val=tuple(name for name in train if name in chosen),
        holdout=holdout,
        note=note,
    )


def _with_val_of(val_dataset: Dataset, train: tuple[str, ...], holdout: tuple[str, ...], unused: int) -> Split:
    if not val_dataset.tasks:
        msg = f"the val dataset {val_dataset.slug} has no tasks"
        raise InputError(msg)
    idle = f" The {unused} tasks that would have been val are not used." if unused else ""
    note = f"val is the dataset {val_dataset.slug} ({len(val_dataset.tasks)} tasks).{idle}"
    return Split(train=train, val=tuple(val_dataset.by_name), holdout=holdout, note=note)


def _check_names(dataset: Dataset, splits: Mapping[str, Sequence[str]]) -> None:
    for part, names in splits.items():
        if part not in SPLITS:
            msg = f'unknown split "{part}"; {suggestion(part, list(SPLITS))}'
            raise InputError(msg)
        unknown = [name for name in names if name not in dataset.by_name]
        if unknown:
            msg = f"{part} names tasks that {dataset.slug} does not have: {_listed(unknown)}; correct the splits"
            raise InputError(msg)
        if len(set(names)) < len(names):
            twice = sorted({name for name in names if list(names).count(name) > 1})
            msg = f"{part} names tasks twice: {_listed(twice)}; name each once"
            raise InputError(msg)
    for first, second in combinations([part for part in SPLITS if part in splits], 2):
        both = [name for name in splits[first] if name in set(splits[second])]
        if both:
            msg = f"{first} and {second} overlap: {_listed(both)}; a task belongs to one split"
            raise InputError(msg)


def _check_ratios(ratios: tuple[float, float, float]) -> None:
    usable = all(math.isfinite(ratio) and ratio >= 0 for ratio in ratios) and ratios[0] > 0 and ratios[2] > 0
    if not usable or abs(math.fsum(ratios) - 1) > 1e-9:
        shown = ", ".join(f"{name} {ratio:g}" for name, ratio in zip(SPLITS, ratios, strict=True))
        msg = f"the shares {shown} must add up to 1, with train and holdout above 0"
        raise InputError(msg)


def _refuse_empty(parts: Mapping[str, tuple[str, ...]], where: str, remedy: str) -> None:
    empty = [name for name, names in parts.items() if not names]
    if empty:
        sizes = ", ".join(f"{name} {len(names)}" for name, names in parts.items())
        msg = f"{where} leaves {' and '.join(empty)} empty ({sizes}); {remedy}"
        raise InputError(msg)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names[:_SHOWN]) + _more(names)


def _more(items: Sequence[object]) -> str:
    return f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
