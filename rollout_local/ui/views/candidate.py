"""One candidate: its text line by line with where each line came from, what changed, its tasks, its trials."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TypedDict

from rollout_local.reports.evidence import texts_of
from rollout_local.reports.lineage import LineStep
from rollout_local.store import reads, trial_list
from rollout_local.store.row_types import CandidateRow
from rollout_local.store.selected_types import JudgedProposal
from rollout_local.ui import queries
from rollout_local.ui.figures import lift, means
from rollout_local.ui.shown_rows import CandidateMeans, ShortCandidate
from rollout_local.ui.texts import Difference, ancestors, differences, origins
from rollout_local.ui.views.run import leaders
from rollout_local.ui.views.trials import asked
from rollout_local.ui.visit import Missing, Page, RunVisit, Visit, run_visit

MOST_TASKS = 100
MOST_FEEDBACK = 12
MOST_TRIALS = 20


OriginLine = TypedDict("OriginLine", {"text": str, "from": int, "steps": Sequence[LineStep]})
"""A line, the candidate that brought its present wording, and the wordings before it."""


class Blamed(TypedDict):
    """A component with its lines; `lines` is None where it is too long, `as_in` the parent that it is taken from."""

    name: str
    text: str
    lines: list[OriginLine] | None
    as_in: int | None


class ComparedTexts(TypedDict):
    """What changed against a candidate, and which components did not."""

    number: int
    differences: list[Difference]
    same: list[str]


class TaskChange(TypedDict):
    """A task's score before and after."""

    task: str
    before: float | None
    after: float
    lift: float | None
    href: str | None


def listing(visit: Visit) -> Page:
    """All candidates of a run, by validation mean."""
    run = run_visit(visit)
    return Page("candidates.html", {
        "title": "Candidates", "run": run, "tab": "run", "leaders": leaders(run),
    })  # fmt: skip


def show(visit: Visit) -> Page:
    """`?against=` names what it is compared with: `parent`, `baseline`, `best` or a number."""
    run = run_visit(visit)
    number = int(visit.names["number"])
    row = reads.find_candidate(run.store, run.id, run.attempt, number)
    if row is None:
        msg = f"Run {run.id} has no candidate {number}; it has {len(run.candidates)}."
        raise Missing(msg)
    parents = parents_of(run)
    other = _other(run, parents.get(number, []))
    before = means(run.store, other)
    after = means(run.store, row)
    best, blamed = run.best, _blamed(run, number, row, parents)
    grew_from = parents.get(number, [])
    return Page("candidate.html", {
        "title": f"Candidate {number}", "run": run, "tab": "run", "row": row, "parents": grew_from,
        "means": after, "other": other, "other_means": before, "lift": lift(before["val"], after["val"]),
        "is_best": best is not None and best["id"] == row["id"], "best": best,
        "components": blamed, "sources": _sources(run, number, blamed, parents),
        "against": visit.first("against", "parent"), "comparisons": _comparisons(run, other, row, grew_from),
        "tasks": _tasks(run, other, row),
        "trials": asked(trial_list.of_candidate(run.store, run.id, run.attempt, row["id"], MOST_TRIALS)),
        "around": [n for n in (number - 1, number + 1) if any(c["number"] == n for c in run.candidates)],
    })  # fmt: skip


def parents_of(run: RunVisit) -> dict[int, list[int]]:
    """The numbers of each candidate's parents, the smaller first; two where it was merged."""
    found: dict[int, list[int]] = {}
    for edge in reads.parents(run.store, run.id, run.attempt):
        found.setdefault(edge["child"], []).append(edge["parent"])
    return found


def _other(run: RunVisit, parents: list[int]) -> ShortCandidate | None:
    """The candidate to compare with; its first parent unless the address says otherwise."""
    asked = run.visit.first("against", "parent")
    if asked == "baseline":
        return run.baseline
    if asked == "best":
        return run.best
    wanted = int(asked) if asked.isascii() and asked.isdecimal() and len(asked) < 10 else next(iter(parents), None)
    return next((row for row in run.candidates if row["number"] == wanted), None)


def _family(run: RunVisit, number: int, parents: dict[int, list[int]]) -> dict[int, dict[str, str]]:
    rows = queries.texts(run.store, run.id, run.attempt, ancestors(number, parents))
    return {n: texts_of(row) for n, row in rows.items()}


def _blamed(run: RunVisit, number: int, row: CandidateRow, parents: dict[int, list[int]]) -> list[Blamed]:
    """Each component's lines with the candidate that brought the present wording, or without where it is too long."""
    family = _family(run, number, parents)
    found: list[Blamed] = []
    for component, text in texts_of(row).items():
        texts = {n: of[component] for n, of in family.items() if component in of}
        histories = origins(number, texts, parents)
        lines: list[OriginLine] | None = None
        if histories is not None:
            lines = [{"text": steps[-1].text, "from": steps[-1].candidate, "steps": steps} for steps in histories]
        found.append(
            {"name": component, "text": text, "lines": lines, "as_in": _as_in(component, text, number, parents, family)}
        )
    return found


def _as_in(
    component: str, text: str, number: int, parents: dict[int, list[int]], family: dict[int, dict[str, str]]
) -> int | None:
    """The parent that a component was taken from as it is, or None where it is this candidate's own."""
    return next((n for n in parents.get(number, ()) if family.get(n, {}).get(component) == text), None)


def _sources(
    run: RunVisit, number: int, blamed: list[Blamed], parents: dict[int, list[int]]
) -> list[dict[str, object]]:
    """For every candidate that lines came from: what caused it and what it changed."""
    origins_of_lines = [line["from"] for component in blamed for line in component["lines"] or ()]
    by_number = {candidate["number"]: candidate for candidate in run.candidates}
    named = sorted({*origins_of_lines, number})
    proposals = queries.proposals_of(run.store, [by_number[origin]["id"] for origin in named])
    return [
        {
            **_source(run, by_number, origin, parents.get(origin, [])),
            **_caused([row for row in proposals if row["candidate_number"] == origin]),
            "lines": origins_of_lines.count(origin),
            "in": [c["name"] for c in blamed if any(line["from"] == origin for line in c["lines"] or ())],
        }
        for origin in named
    ]


def _source(run: RunVisit, by_number: dict[int, ShortCandidate], origin: int, parents: list[int]) -> dict[str, object]:
    candidate, parent = by_number[origin], by_number.get(parents[0]) if parents else None
    after = means(run.store, candidate)["val"]
    return {
        "number": origin, "status": candidate["status"], "parents": parents, "href": run.candidate_link(origin),
        "val": after, "lift": lift(means(run.store, parent)["val"], after),
    }  # fmt: skip


def _caused(proposals: list[JudgedProposal]) -> dict[str, object]:
    return {"proposal": proposals[0] if proposals else None, "feedback": feedback_of(proposals)}


def feedback_of(proposals: list[JudgedProposal]) -> list[dict[str, str]]:
    """What the reflection model read, by task; components of one proposal may have read the same."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for proposal in proposals:
        for record in json.loads(proposal["feedback_json"])[:MOST_FEEDBACK]:
            task, said = str(record.get("task", "")), str(record.get("feedback", ""))
            found.setdefault((task, said), {"task": task, "feedback": said})
    return list(found.values())


def _comparisons(
    run: RunVisit, other: ShortCandidate | None, row: CandidateRow, grew_from: list[int]
) -> list[ComparedTexts]:
    """What changed, and which components did not, against the candidate that is asked for; a merge against both."""
    numbers = [other["number"]] if other is not None and other["id"] != row["id"] else []
    if len(grew_from) > 1 and run.visit.first("against", "parent") == "parent":
        numbers = grew_from
    rows, after = queries.texts(run.store, run.id, run.attempt, numbers), texts_of(row)
    found: list[ComparedTexts] = []
    for number in numbers:
        before = texts_of(rows[number])
        same = [name for name in after if before.get(name) == after[name]]
        found.append({"number": number, "differences": differences(before, after), "same": same})
    return found


def _tasks(run: RunVisit, other: CandidateMeans | None, row: CandidateRow) -> dict[str, object]:
    """Scores by task on the split that both have most of, the largest change first."""
    split = "val" if row["val_n"] else "train"
    after = queries.task_means(run.store, row["id"], split)
    before = queries.task_means(run.store, other["id"], split) if other and other["id"] != row["id"] else {}
    rows: list[TaskChange] = [
        {"task": task, "before": before.get(task), "after": score,
         "lift": None if task not in before else score - before[task], "href": run.task_link(task, split)}
        for task, score in after.items()
    ]  # fmt: skip
    rows.sort(key=lambda found: (-abs(found["lift"] or 0), found["task"]))
    return {
        "split": split, "rows": rows[:MOST_TASKS], "total": len(rows),
        "better": sum((r["lift"] or 0) > 1e-9 for r in rows), "worse": sum((r["lift"] or 0) < -1e-9 for r in rows),
        "same": sum(r["lift"] is not None and abs(r["lift"]) <= 1e-9 for r in rows),
    }  # fmt: skip
