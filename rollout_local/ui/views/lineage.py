"""The family tree of a run's candidates and the map of who is best at what."""

from __future__ import annotations

from typing import TypedDict

from markupsafe import Markup

from rollout_local.store import reads
from rollout_local.ui import queries
from rollout_local.ui.draw.heat import heat
from rollout_local.ui.draw.tree import MOST, Node, tree
from rollout_local.ui.figures import frontier, mean_of
from rollout_local.ui.shown_rows import ShortCandidate
from rollout_local.ui.visit import Page, RunVisit, Visit, run_visit

ROWS, COLUMNS = 20, 80
"""Candidates and tasks that the map shows."""
MOST_TASKS = 100


class TaskTops(TypedDict):
    """A validation task: the best score of those shown, who has it, the baseline's and the best candidate's."""

    task: str
    top: float
    leaders: list[int]
    before: float | None
    after: float | None


def lineage(visit: Visit) -> Page:
    """The tree, and a table that says the same."""
    run = run_visit(visit)
    wins = frontier(run)
    parents: dict[int, list[int]] = {}
    for edge in reads.parents(run.store, run.id, run.attempt):
        parents.setdefault(edge["child"], []).append(edge["parent"])
    nodes = _nodes(run, wins, parents)
    changed = queries.proposed_components(run.store, run.id, run.attempt)
    several = len({name for names in changed.values() for name in names}) > 1
    return Page("lineage.html", {
        "title": "Lineage", "run": run, "tab": "lineage", "tree": tree(nodes) if nodes else None, "most": MOST,
        "several": several,
        "rows": [
            {**row, "node": node, "changed": changed.get(row["id"], []), "mean": mean_of(run.store, row, "val"),
             "wins": wins.get(row["number"], 0)}
            for row, node in zip(run.candidates, nodes, strict=True)
        ],
    })  # fmt: skip


def _nodes(run: RunVisit, wins: dict[int, int], parents: dict[int, list[int]]) -> list[Node]:
    best = run.best
    return [
        Node(
            row["number"], row["status"], row["val_mean"], parents.get(row["number"], []),
            run.candidate_link(row["number"]), best=best is not None and row["id"] == best["id"],
            frontier=row["number"] in wins,
        )
        for row in run.candidates
    ]  # fmt: skip


def pareto(visit: Visit) -> Page:
    """Wins by candidate; a map of candidates and validation tasks, the hardest tasks first."""
    run = run_visit(visit)
    wins = frontier(run)
    scored = [row for row in run.candidates if row["val_n"]]
    ranked = sorted(scored, key=lambda row: (-wins.get(row["number"], 0), -(row["val_mean"] or 0.0), row["number"]))
    cells = queries.cells(run.store, [row["id"] for row in ranked[:ROWS]])
    tasks = _tasks(run, ranked, cells)
    return Page("pareto.html", {
        "title": "Pareto frontier", "run": run, "tab": "pareto",
        "winners": [
            {**row, "wins": wins.get(row["number"], 0), "mean": mean_of(run.store, row, "val"),
             "href": run.candidate_link(row["number"])} for row in ranked
        ],
        "task_count": len(tasks),
        "rows": [{**task, "href": run.task_link(task["task"], "val")} for task in tasks[:MOST_TASKS]],
        "shown": (min(len(ranked), ROWS), min(len(tasks), COLUMNS)),
        "heat": _map(run, ranked[:ROWS], cells, [task["task"] for task in tasks[:COLUMNS]]) if tasks else None,
    })  # fmt: skip


def _map(run: RunVisit, ranked: list[ShortCandidate], cells: dict[int, dict[str, float]], tasks: list[str]) -> Markup:
    links = {task: link for task in tasks if (link := run.task_link(task, "val"))}
    return heat([(row["number"], cells.get(row["id"], {})) for row in ranked], tasks, links, run.candidate_link)


def _tasks(run: RunVisit, ranked: list[ShortCandidate], cells: dict[int, dict[str, float]]) -> list[TaskTops]:
    """Every validation task, the hardest first."""
    baseline, best = run.baseline, run.best
    before = queries.task_means(run.store, baseline["id"], "val") if baseline else {}
    after = queries.task_means(run.store, best["id"], "val") if best else {}
    numbers = {row["id"]: row["number"] for row in ranked}
    names = sorted({task for of in cells.values() for task in of})
    rows: list[TaskTops] = []
    for task in names:
        scores = {numbers[candidate]: of[task] for candidate, of in cells.items() if task in of}
        top = max(scores.values())
        leaders = [number for number, score in scores.items() if score >= top - 1e-9]
        rows.append(
            {"task": task, "top": top, "leaders": leaders, "before": before.get(task), "after": after.get(task)}
        )
    return sorted(rows, key=lambda row: (row["top"], row["after"] or 0, row["task"]))
