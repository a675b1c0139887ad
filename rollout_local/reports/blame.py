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
from typing import TypedDict

from rollout_local.reports.blocks import Block, Grid, Heading, Lines, Say, Tone
from rollout_local.reports.escape import first_line
from rollout_local.reports.evidence import gather, texts_of
from rollout_local.reports.lineage import Family
from rollout_local.reports.pairing import by_task, mean_score
from rollout_local.reports.render import blocks_as_text
from rollout_local.reports.statistics import mean
from rollout_local.reports.wording import number, signed, tasks_counted
from rollout_local.store import reads
from rollout_local.store.row_types import CandidateRow, RunRow, TrialRow
from rollout_local.store.schema import Store
from rollout_local.store.selected_types import JudgedProposal


class Wording(TypedDict):
    """One wording of a line, and how alike the one before was."""

    candidate: int
    text: str
    ratio: float | None


class BlamedLine(TypedDict):
    """A line of the best prompt."""

    component: str
    line: int
    text: str
    candidate: int
    history: list[Wording]


class Record(TypedDict):
    """What the reflection model read of a task."""

    task: str
    feedback: str


class Means(TypedDict):
    """Of a minibatch, before and after."""

    before: float | None
    after: float | None


class Change(TypedDict):
    """A task that both have a score for."""

    task: str
    before: float
    after: float


class BlamedProposal(TypedDict):
    """The proposal that brought a wording in, and what it changed."""

    candidate: int
    parents: list[int]
    iteration: int | None
    components: list[str]
    tasks: list[str]
    feedback: list[Record]
    minibatch: Means
    train: list[Change]
    val: list[Change]


class Blame(TypedDict):
    """Where the best prompt comes from."""

    run_id: str
    best: int
    baseline: int
    lines: list[BlamedLine]
    proposals: dict[str, BlamedProposal]


def blame(store: Store, run: RunRow) -> Blame:
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


def _lines(candidates: Mapping[int, CandidateRow], parents: Mapping[int, Sequence[int]], best: int) -> list[BlamedLine]:
    texts = {number: texts_of(row) for number, row in candidates.items()}
    found: list[BlamedLine] = []
    for component in texts[best]:
        family = Family({number: of[component] for number, of in texts.items() if component in of}, parents)
        for place, history in enumerate(family.histories(best), 1):
            steps: list[Wording] = [
                {"candidate": step.candidate, "text": step.text, "ratio": step.ratio} for step in history
            ]
            found.append({
                "component": component, "line": place, "text": history[-1].text, "candidate": history[-1].candidate,
                "history": steps,
            })  # fmt: skip
    return found


def _proposal(
    candidates: Mapping[int, CandidateRow],
    child: int,
    parents: Sequence[int],
    proposals: Sequence[JudgedProposal],
    trials: Sequence[TrialRow],
) -> BlamedProposal:
    rows = [row for row in proposals if row["candidate_number"] == child]
    records = _records(rows)
    first = rows[0] if rows else None
    parent = candidates[parents[0]] if parents else None
    return {
        "candidate": child,
        "parents": list(parents),
        "iteration": first and first["iteration"],
        "components": [row["component"] for row in rows],
        "tasks": list(dict.fromkeys(record["task"] for record in records)),
        "feedback": records,
        "minibatch": {"before": first and first["minibatch_before"], "after": first and first["minibatch_after"]},
        "train": _changes(parent, candidates[child], "train", trials),
        "val": _changes(parent, candidates[child], "val", trials),
    }


def _records(rows: Sequence[JudgedProposal]) -> list[Record]:
    """What the reflection model read, once: the components of one proposal may have read the same records."""
    found: dict[tuple[str, str], Record] = {}
    for row in rows:
        for record in json.loads(row["feedback_json"]):
            task, feedback = str(record.get("task", "")), str(record.get("feedback", ""))
            found.setdefault((task, feedback), {"task": task, "feedback": feedback})
    return list(found.values())


def _changes(parent: CandidateRow | None, child: CandidateRow, split: str, trials: Sequence[TrialRow]) -> list[Change]:
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


def as_text(found: Blame, width: int = 100, color: bool = False) -> str:
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


def _line(line: BlamedLine) -> str:
    steps = [str(step["candidate"]) for step in line["history"]]
    origin = ">".join(steps) if len(steps) > 1 else steps[0]
    return f"{origin:>7} | {line['text']}"


def _told(proposal: BlamedProposal) -> list[Block]:
    parents = " and ".join(str(parent) for parent in proposal["parents"])
    when = "" if proposal["iteration"] is None else f", iteration {proposal['iteration']}"
    blocks: list[Block] = [Heading(f"Candidate {proposal['candidate']}: from {parents}{when}")]
    blocks.append(Say(" ".join(_measured(proposal))))
    causes = [[record["task"], first_line(record["feedback"], 200)] for record in proposal["feedback"]]
    if causes:
        blocks.append(Grid(("task", "feedback that caused it"), causes, "ll"))
    return blocks


def _measured(proposal: BlamedProposal) -> list[str]:
    """Sentences on what was measured; the minibatch in means, val over the tasks of both."""
    said = []
    before, after = proposal["minibatch"]["before"], proposal["minibatch"]["after"]
    if before is not None and after is not None:
        said.append(f"On its minibatch the mean went from {number(before)} to {number(after)}.")
    if proposal["val"]:
        lift = mean([change["after"] - change["before"] for change in proposal["val"]])
        said.append(f"On val, over {tasks_counted(len(proposal['val']))}, it changed by {signed(lift)}.")
    return said or ["No score of it and its parent can be compared."]
