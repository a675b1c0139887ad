"""The order in which a promotion report is told: verdict, luck, scores, why, what changed, which tasks, the rest.

Works on the report as `promotion.build` made it or as it was read back from JSON.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rollout_local.domain.dataset import SPLITS
from rollout_local.domain.run import Phase
from rollout_local.reports import failures, steadiness
from rollout_local.reports.blocks import Block, Case, Grid, Heading, Lines, Say, Side, Tone, diff
from rollout_local.reports.report import Movement, Report, ScoreSummary, TaskSide, VerdictOutcome
from rollout_local.reports.wording import money, number, percent, signed, spread, tasks_counted, words

SIMULATED = (
    "SIMULATED: the models in this run were a scripted simulator. It shows how the tool works, "
    "and says nothing about any real model."
)

BRIEF_CASES = 2
"""Tasks of each kind that a brief report shows."""
TONES: dict[VerdictOutcome, Tone] = {"promote": Tone.GOOD, "undecided": Tone.NOTE, "do_not_promote": Tone.BAD}


def outline(report: Report) -> list[Block]:
    """The whole report as blocks."""
    parts = (_head, _scores, _lift, _why, _prompts, _tasks, _gates, _spent, _copied)
    return [block for part in parts for block in part(report)]


def brief(report: Report, rest: str) -> list[Block]:
    """The part that fits on two screens; `rest` says where the rest is, and the last line is the verdict again."""
    blocks = [block for part in (_head, _scores, _lift, _prompts) for block in part(report)]
    blocks += _cases("Improved on the holdout", report["improved"], report, Tone.GOOD, BRIEF_CASES)
    blocks += _cases("Regressed on the holdout", report["regressed"], report, Tone.BAD, BRIEF_CASES)
    more = len(report["improved"][BRIEF_CASES:]) + len(report["regressed"][BRIEF_CASES:])
    said = f"{tasks_counted(more)} more, the gates and what it took" if more else "The gates and what it took"
    blocks.append(Say(f"{said}: {rest}"))
    verdict = report["verdict"]
    return [*blocks, Say(""), Say(verdict["sentence"], TONES[verdict["outcome"]])]


def _head(report: Report) -> Iterator[Block]:
    target, verdict = report["target"], report["verdict"]
    yield Heading(f"Promotion report: {target['id']} ({words(target['kind'])})", level=1)
    if report.get("simulated"):
        yield Say(SIMULATED, Tone.NOTE)
    yield Say(verdict["sentence"], TONES[verdict["outcome"]])
    yield Say(verdict["luck_sentence"], Tone.NOTE if verdict["may_be_luck"] else Tone.GOOD)
    for doubt in report.get("doubts", ()):
        yield Say(f"But {doubt}.", Tone.BAD)
    if report["degraded"]:
        yield Say(report["degraded_why"], Tone.BAD)
    reason = f", {words(report['stop_reason'])}" if report["stop_reason"] else ""
    yield Say(f"Run {report['run_id']}, attempt {report['attempt']}: {report['status']}{reason}.")


def _best_name(report: Report) -> str:
    return f"candidate {report['best']['number']}" if report["changed"] else "best (the baseline)"


def _scores(report: Report) -> Iterator[Block]:
    yield Heading("Scores")
    sides = (("baseline", report["baseline"]), (_best_name(report), report["best"]))
    rows = [[name, *(_mean(side[split]) for split in SPLITS)] for name, side in sides]
    if report["changed"]:
        both = report["overfitting"]
        lifts = (f"{signed(both[split]['lift'])} ({tasks_counted(both[split]['n'])})" for split in SPLITS)
        rows.append(["lift, on tasks of both", *lifts])
    yield Grid(("mean ± sd (trials)", *SPLITS), rows, "lrrr")
    if failed := report.get("target_failures"):
        yield Say(failures.sentence(failed), Tone.BAD)


def _mean(scores: ScoreSummary) -> str:
    if scores["mean"] is None:
        return "–"
    deviation = "" if scores["sd"] is None else f" ± {number(scores['sd'])}"
    return f"{number(scores['mean'])}{deviation} ({scores['n']})"


def _lift(report: Report) -> Iterator[Block]:
    holdout = report["holdout"]
    if not report["changed"] or holdout["lift"] is None:
        return
    yield Say(
        f"Holdout lift {signed(holdout['lift'])}, {percent(holdout['confidence'])} interval "
        f"{spread(holdout['interval'])}; {holdout['wins']} won, {holdout['losses']} lost, {holdout['ties']} tied; "
        f"sign test p = {number(holdout['sign_test_p'])}, permutation p = {number(holdout['permutation_p'])}."
    )
    least, tasks = holdout["smallest_detectable_lift"], tasks_counted(holdout["n"])
    if least is not None:
        yield Say(f"The smallest true lift that these {tasks} show in four runs of five is {number(least)}.")
    else:
        yield Say(f"What lift {tasks} could show reliably cannot be told from these scores.")


def _why(report: Report) -> Iterator[Block]:
    moved = [check for check in report["checks"] if check["lift"]]
    if moved:
        yield Heading("What the verifier sees")
        rows = [[c["id"], number(c["before"]), number(c["after"]), signed(c["lift"])] for c in moved]
        yield Grid(("check on the holdout", "before", "after", "lift"), rows, "lrrr")


def _prompts(report: Report) -> Iterator[Block]:
    length = report["prompt_length"]
    yield Heading("The prompt")
    if not report["changed"]:
        yield Say(f"Unchanged, {length['before']} characters.")
        return
    yield Say(f"{length['before']} characters before, {length['after']} after.")
    before, after = report["baseline"]["components"], report["best"]["components"]
    yield diff(before, after, ("baseline", _best_name(report)))


def _tasks(report: Report) -> Iterator[Block]:
    yield from _cases("Improved on the holdout", report["improved"], report, Tone.GOOD)
    yield from _cases("Regressed on the holdout", report["regressed"], report, Tone.BAD)


def _cases(
    title: str, movements: Sequence[Movement], report: Report, tone: Tone, most: int | None = None
) -> Iterator[Block]:
    if not report["changed"]:
        return
    yield Heading(f"{title}: {tasks_counted(len(movements))}")
    for movement in movements[:most]:
        before, after = _side("baseline", movement["baseline"]), _side(_best_name(report), movement["best"])
        yield Case(movement["task"], signed(movement["lift"]), before, after, tone)


def _side(label: str, side: TaskSide) -> Side:
    return Side(label, number(side["score"]), side["output"] or "", side["feedback"])


def _gates(report: Report) -> Iterator[Block]:
    yield Heading("Gates")
    rows = [["met" if gate["met"] else "NOT MET", words(gate["name"]), gate["sentence"]] for gate in report["gates"]]
    yield Grid(("", "gate", "what was seen"), rows, "lll")


def _spent(report: Report) -> Iterator[Block]:
    yield Heading("What it took")
    calls = [(phase, report["calls"][phase]) for phase in Phase if phase in report["calls"]]
    rows = [[words(phase), str(of["asked"]), str(of["spent"]), str(of["errors"])] for phase, of in calls]
    yield Grid(("target executions", "asked", "spent", "without a score"), rows, "lrrr")
    budget = report["budget"]
    yield Say(f"Search budget: {budget['asked']} asked, {budget['spent']} spent.")
    if "repeats" in report:
        yield Say(steadiness.sentence(report["repeats"]))
    volatile = report.get("volatile")
    if volatile:
        cost, latency = volatile["cost"], volatile["latency_ms"]
        yield Say(
            f"Cost {money(cost['total_usd'])} in all; {money(cost['per_task_before'])} a task before, "
            f"{money(cost['per_task_after'])} after. Median latency {_ms(latency['before'])} before, "
            f"{_ms(latency['after'])} after."
        )
        yield from (Say(f"Not all is recorded: {sentence}.", Tone.BAD) for sentence in volatile.get("bypassed", ()))


def _ms(milliseconds: float | None) -> str:
    return "unknown" if milliseconds is None else f"{milliseconds:.0f} ms"


def _copied(report: Report) -> Iterator[Block]:
    overlap = report["overlap"]
    yield Heading("Overlap with the training tasks")
    copied = overlap["copied_fraction"]
    longest = f"The longest run of words shared by the prompt and a training task: {overlap['longest_ngram']}"
    if not copied:
        yield Say(f"{longest}; nothing of eight words or more was copied.")
        return
    yield Say(f"{longest}; {percent(copied)} of its words stand in copied runs of eight or more.", Tone.NOTE)
    yield Lines([f"{example['task']}: {example['text']}" for example in overlap["examples"]])
