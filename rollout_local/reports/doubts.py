"""What makes a verdict less worth than it looks: tasks that are alike across splits, a holdout that was seen, scores
that tell nothing apart, a text that has one thing said to every task. Told when a run is created, while it runs, and
beside the verdict.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from rollout_local.datasets.similar import similar_pairs
from rollout_local.domain.dataset import SplitName, Task
from rollout_local.domain.identity import canonical_json
from rollout_local.domain.run import Phase
from rollout_local.reports.escape import first_line
from rollout_local.reports.evidence import Evidence
from rollout_local.reports.wording import number
from rollout_local.store.selected_types import NumberedTrial

FEWEST = 10
"""Trials below which equal scores may be chance."""
FEWEST_ANSWERS = 8
"""Tasks below which equal answers may be chance."""
ONE_ANSWER = 0.8
"""The share of tasks that one answer has to be given to, and by how much more than any answer is right."""
SURPLUS = 0.2
SHOWN = 5
EXAMPLES = 3
LONGEST = 120
"""Characters of an output and of an answer that are shown."""


def of_run(evidence: Evidence) -> list[str]:
    """Sentences, none where there is no doubt."""
    searched = [*_tasks(evidence, "train"), *_tasks(evidence, "val")]
    found = [alike(searched, _tasks(evidence, "holdout"))]
    executed = any(trial["phase"] == Phase.SEARCH and trial["split"] == "holdout" for trial in evidence.trials)
    found.append(seen_holdout(evidence.split, own_val=evidence.run["val_dataset_id"] is None, executed=executed))
    final = [trial for trial in evidence.trials if trial["split"] == "holdout"]
    found.append(constant(final, "holdout trials"))
    found.append(one_answer([trial for trial in final if trial["candidate_id"] == evidence.best["id"]], evidence.tasks))
    return [sentence for sentence in found if sentence]


def alike(searched: Sequence[Task], holdout: Sequence[Task]) -> str:
    """Tasks that the search sees and holdout tasks whose questions are nearly the same; empty where there are none."""
    pairs = similar_pairs(searched, holdout)
    if not pairs:
        return ""
    shown = ", ".join(f"{a} and {b}" for a, b in pairs[:SHOWN])
    more = f" and {len(pairs) - SHOWN} more" if len(pairs) > SHOWN else ""
    counted = f"{len(pairs)} pairs" if len(pairs) > 1 else "a pair"
    return f"{counted} of a task that the search sees and a holdout task ask nearly the same: {shown}{more}"


def seen_holdout(split: Mapping[SplitName, Sequence[str]], *, own_val: bool, executed: bool) -> str:
    """Holdout tasks that the search could see, or `executed`; `own_val`: val is of the holdout's dataset."""
    holdout = split.get("holdout", ())
    searched = {*split.get("train", ()), *(split.get("val", ()) if own_val else ())}
    shared = sorted(searched & set(holdout))
    if shared:
        return f"the search saw holdout tasks too: {', '.join(shared[:SHOWN])}"
    if not holdout:
        return "the run has no holdout"
    if executed:
        return "the search executed holdout tasks"
    return ""


def constant(trials: Sequence[NumberedTrial], what: str) -> str:
    """Scored trials, `FEWEST` or more, that all have one score; empty where they differ."""
    scores = [trial["score"] for trial in trials if trial["score"] is not None]
    if len(scores) < FEWEST or min(scores) != max(scores):
        return ""
    return f"all {len(scores)} {what} have the score {number(scores[0])}, so nothing can be told from them"


def one_answer(trials: Sequence[NumberedTrial], tasks: Mapping[str, Task]) -> str:
    """One answer that is given to nearly all tasks, though the right ones differ; empty where there is none."""
    given = [(trial["output"] or "", tasks[trial["task_name"]]) for trial in trials if trial["task_name"] in tasks]
    if len(given) < FEWEST_ANSWERS or any(task.expected_output is None for _, task in given):
        return ""
    output, times = Counter(output.strip() for output, _ in given).most_common(1)[0]
    right = Counter(canonical_json(task.expected_output) for _, task in given).most_common(1)[0][1]
    if times < ONE_ANSWER * len(given) or times - right < SURPLUS * len(given):
        return ""
    answer = first_line(output, LONGEST)
    return (
        f"the best text has {answer!r} said to {times} of {len(given)} holdout tasks, and no answer is right for more "
        f"than {right} of them: it may have learnt an answer, and not the task"
    )


def examples(trials: Sequence[NumberedTrial], tasks: Mapping[str, Task]) -> Iterator[str]:
    """The first outputs, each beside what was expected and what the verifier said."""
    for trial in trials[:EXAMPLES]:
        task = tasks.get(trial["task_name"])
        expected = task.expected_output if task is not None else None
        wanted = f", expected {first_line(str(expected), LONGEST)!r}" if expected is not None else ""
        said = f" ({first_line(trial['feedback'] or '', LONGEST)})" if trial["feedback"] else ""
        yield f"{trial['task_name']} gave {first_line(trial['output'] or '', LONGEST)!r}{wanted}{said}"


def _tasks(evidence: Evidence, split: SplitName) -> list[Task]:
    return [evidence.tasks[name] for name in evidence.split.get(split, ()) if name in evidence.tasks]
