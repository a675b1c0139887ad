"""Blame: each line of the best prompt, the proposal that brought it in, what caused it and what it changed.

    run_id, best, baseline          numbers of the candidates
    lines                           [{component, line, text, candidate, history: [{candidate, text, ratio}]}];
                                    `candidate` brought the present wording, `history` has the earlier ones first
    proposals                       by candidate number, for every candidate that a line names but the baseline:
                                    {candidate, parents, iteration, components, tasks, feedback: [{task, feedback}],
                                    minibatch: {before, after}, train: […], val: […]}, with the tasks that both the
                                    first parent and the candidate have a score for: [{task, before, after}]

A change is measured for the proposal as a whole: which of its lines did it cannot be told from the scores.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rollout_local.reports.blocks import Block, Grid, Heading, Lines, Say, Tone
from rollout_local.reports.evidence import Row, gather, texts_of
from rollout_local.reports.lineage import Family
from rollout_local.reports.pairing import by_task, mean_score
from rollout_local.reports.render import blocks_as_text
from rollout_local.reports.statistics import mean
from rollout_local.reports.visible import first_line
from rollout_local.reports.wording import number, signed, tasks_counted
from rollout_local.store import reads
from rollout_local.store.schema import Store


def blame(store: Store, run: Row) -> dict[str, Any]:
    """The blame of the newest attempt's best prompt; `run` is a row of `reads.run()`.

    Raises `InputError` where nothing has been evaluated yet.
    """
    evidence = gather(store, run)
    candidates = {row["number"]: row for row in reads.candidates(store, run["id"], run["attempt"])}
    parents: dict[int, list[int]] = {}
    for edge in reads.parents(store, run["id"], run["attempt"]):
        parents.setdefault(edge["child"], []).append(edge["parent"])
    lines = _lines(candidates, parents, evidence.best["number"])
    rows = reads.proposals(store, run["id"], run["attempt"])
    named = sorted({step["candidate"] for line in lines for step in line["history"]} - {evidence.baseline["number"]})
    return {
        "run_id": run["id"],
        "best": evidence.best["number"],
        "baseline": evidence.baseline["number"],
        "lines": lines,
        "proposals": {
            str(child): _proposal(candidates, child, parents.get(child, []), rows, evidence.trials) for child in named
        },
    }


def _lines(candidates: Mapping[int, Row], parents: Mapping[int, Sequence[int]], best: int) -> list[dict[str, Any]]:
    texts = {number: texts_of(row) for number, row in candidates.items()}
    found = []
    for component in texts[best]:
        family = Family({number: of[component] for number, of in texts.items() if component in of}, parents)
        for place, history in enumerate(family.histories(best), 1):
            line = {"component": component, "line": place, "text": history[-1].text}
            steps = [asdict(step) for step in history]
            found.append({**line, "candidate": history[-1].candidate, "history": steps})
    return found


def _proposal(
    candidates: Mapping[int, Row], child: int, parents: Sequence[int], proposals: Sequence[Row], trials: Sequence[Row]
) -> dict[str, Any]:
    rows = [row for row in proposals if row["candidate_number"] == child]
    records = _records(rows)
    first: dict[str, Any] = dict(rows[0]) if rows else {}
    parent = candidates[parents[0]] if parents else None
    return {
        "candidate": child,
        "parents": list(parents),
        "iteration": first.get("iteration"),
        "components": [row["component"] for row in rows],
        "tasks": list(dict.fromkeys(record["task"] for record in records)),
        "feedback": records,
        "minibatch": {"before": first.get("minibatch_before"), "after": first.get("minibatch_after")},
        **{split: _changes(parent, candidates[child], split, trials) for split in ("train", "val")},
    }


def _records(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """What the reflection model read, once: the components of one proposal may have read the same records."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        for record in json.loads(row["feedback_json"]):
            task, feedback = str(record.get("task", "")), str(record.get("feedback", ""))
            found.setdefault((task, feedback), {"task": task, "feedback": feedback})
    return list(found.values())


def _changes(parent: Row | None, child: Row, split: str, trials: Sequence[Row]) -> list[dict[str, Any]]:
    if parent is None:
        return []
    before, after = (
        by_task(t for t in trials if (t["candidate_hash"], t["split"]) == (row["content_hash"], split))
        for row in (parent, child)
    )
    return [
        {"task": task, "before": mean_score(before[task]), "after": mean_score(after[task])}
        for task in sorted(before.keys() & after.keys())
    ]


def as_text(found: Mapping[str, Any], width: int = 100, color: bool = False) -> str:
    """Blame for a terminal: the lines with the candidates that brought them, then the proposals."""
    blocks: list[Block] = [Heading(f"Where the prompt of candidate {found['best']} comes from", level=1)]
    if found["best"] == found["baseline"]:
        blocks.append(Say("It is the baseline, unchanged.", Tone.NOTE))
    components = list(dict.fromkeys(line["component"] for line in found["lines"]))
    for component in components:
        if len(components) > 1:
            blocks.append(Heading(component))
        blocks.append(Lines([_line(line) for line in found["lines"] if line["component"] == component]))
    for proposal in found["proposals"].values():
        blocks += _told(proposal)
    return blocks_as_text(blocks, width, color=color)


def _line(line: Mapping[str, Any]) -> str:
    steps = [str(step["candidate"]) for step in line["history"]]
    origin = ">".join(steps) if len(steps) > 1 else steps[0]
    return f"{origin:>7} | {line['text']}"


def _told(proposal: Mapping[str, Any]) -> list[Block]:
    parents = " and ".join(str(parent) for parent in proposal["parents"])
    when = "" if proposal["iteration"] is None else f", iteration {proposal['iteration']}"
    blocks: list[Block] = [Heading(f"Candidate {proposal['candidate']}: from {parents}{when}")]
    blocks.append(Say(" ".join(_measured(proposal))))
    causes = [[record["task"], first_line(record["feedback"], 200)] for record in proposal["feedback"]]
    if causes:
        blocks.append(Grid(("task", "feedback that caused it"), causes, "ll"))
    return blocks


def _measured(proposal: Mapping[str, Any]) -> list[str]:
    """Sentences on what was measured; the minibatch in means, val over the tasks of both."""
    said = []
    before, after = proposal["minibatch"]["before"], proposal["minibatch"]["after"]
    if before is not None and after is not None:
        said.append(f"On its minibatch the mean went from {number(before)} to {number(after)}.")
    if proposal["val"]:
        lift = mean([change["after"] - change["before"] for change in proposal["val"]])
        said.append(f"On val, over {tasks_counted(len(proposal['val']))}, it changed by {signed(lift)}.")
    return said or ["No score of it and its parent can be compared."]
