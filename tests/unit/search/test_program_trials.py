"""The trials of an optimizer of lists: which candidate, which occurrence, what is admitted, who leads."""

from __future__ import annotations

from typing import Any

import dspy
import pytest

from rollout_local.domain.program import ProgramAnswer
from rollout_local.domain.target import Candidate
from rollout_local.errors import BudgetSpent, InputError
from rollout_local.search.bettertogether import STAGES, Stage
from rollout_local.search.components import candidate_of
from rollout_local.search.engine import Began, Graded, Judged, ProposalFailed, Proposed, Ticket, Validated
from rollout_local.search.isolation import SignalFailed
from rollout_local.search.optimizer_arguments import PLAIN_STAGES
from rollout_local.search.optimizers import read_strategy
from rollout_local.search.program_adapter import ProgramFailed, journaled, returned_by, ticketed
from rollout_local.search.program_trials import OPEN, Batch, ScoreReached, Trials, Verified
from rollout_local.search.simba import Stepwise
from rollout_local.targets.program import ProgramTarget
from tests.unit.search.conftest import Heard, make_spec, tasks


class Writer(dspy.Module):
    def __init__(self) -> None:
        super().__init__()
        self.write = dspy.Predict(dspy.Signature("question -> reply", "Answer."))

    def forward(self, question: str) -> Any:
        return self.write(question=question)


def program(metric: Any = None) -> ProgramTarget:
    def example(task: Any) -> Any:
        return dspy.Example(question=task.instruction, topic=task.name).with_inputs("question")

    return ProgramTarget(Writer, id="writer", metric=metric, example=example)


def answered(candidate: Candidate, ticket: Ticket) -> Graded:
    """A tenth for every `better` in the instructions."""
    score = min(1.0, candidate.components["write"].count("better") / 10)
    answer = ProgramAnswer({"reply": f"on {ticket.task.name}"}, is_prediction=True, calls=())
    return Graded("a reply", score, f"said of {ticket.task.name}", answer)


@pytest.fixture
def heard() -> Heard:
    return Heard(evaluate=answered)


def trials_of(heard: Heard, **changes: Any) -> Trials:
    target = changes.pop("program", None) or program()
    return Trials(make_spec("http://nobody", program=target, baseline=target.baseline, **changes), heard.signals())


def better(module: Any, times: int = 1) -> Any:
    made = module.deepcopy()
    made.write.signature = made.write.signature.with_instructions("Answer. " + "better " * times)
    return made


def evaluated(trials: Trials, module: Any, split: Any = "val") -> None:
    with dspy.context(callbacks=[trials]):
        dspy.Evaluate(devset=trials.examples(split), metric=trials.metric(), num_threads=1)(module)


def test_the_baselines_first_pass_over_val_is_paid_for_and_the_next_is_not(heard: Heard) -> None:
    trials = trials_of(heard)
    student = trials.student()
    evaluated(trials, student)
    assert trials.budget.spent == 0
    assert {ticket.occurrence for _, ticket in heard.asked} == {0}
    evaluated(trials, student)
    assert trials.budget.spent == 4
    assert len({ticket.occurrence for _, ticket in heard.asked[4:]}) == 1
    assert heard.asked[4][1].occurrence > 0


def test_a_batch_is_one_occurrence_and_what_runs_alone_has_its_own(heard: Heard) -> None:
    trials = trials_of(heard)
    student = trials.student()
    evaluated(trials, student, "train")
    alone = [Ticket(task, "train", OPEN) for task in tasks("train", 2)]
    for ticket in alone:
        trials.ask(student, ticket)
    occurrences = [ticket.occurrence for _, ticket in heard.asked]
    assert len(set(occurrences[:6])) == 1
    assert len(set(occurrences[5:])) == 3
    assert [event.size for event in heard.of(Began)] == [6, 1, 1]
    assert trials.budget.spent == 8


def test_pairs_are_one_batch_in_which_every_copy_brings_its_occurrence(heard: Heard) -> None:
    trials = trials_of(heard)
    copies = [trials.student().deepcopy() for _ in range(2)]
    trials.pair()
    trials.pair()
    assert trials.is_pairing
    tickets = [Ticket(task, "train", OPEN) for task in tasks("train", 2)]
    for copy, ticket in zip(copies, tickets, strict=True):
        trials.ask(copy, ticket)
    assert not trials.is_pairing
    assert [event.size for event in heard.of(Began)] == [2]
    trials.ask(copies[0], tickets[0])  # DSPy asks again for a straggler
    first, second, again = (ticket.occurrence for _, ticket in heard.asked)
    assert first != second
    assert again == first
    assert trials.budget.spent == 2


def test_a_new_text_is_told_of_once_with_the_copy_that_it_came_of(heard: Heard) -> None:
    trials = trials_of(heard)
    student = trials.student()
    assert trials.number_of(student) == 0
    read = [{"task": "train-0", "feedback": "be better"}]
    assert trials.number_of(better(student), read) == 1
    assert trials.number_of(better(better(student), 2)) == 2
    assert trials.number_of(better(student)) == 1
    assert [(event.number, event.parents, event.components) for event in heard.of(Proposed)] == [
        (1, (0,), ("write",)), (2, (1,), ("write",)),
    ]  # fmt: skip
    assert heard.of(Proposed)[0].feedback == read


def test_a_demonstration_that_json_cannot_keep_ends_the_search(heard: Heard) -> None:
    trials = trials_of(heard)
    copy = trials.student().deepcopy()
    copy.write.demos = [dspy.Example(question=object(), reply="x")]
    with pytest.raises(SignalFailed) as caught:
        trials.number_of(copy)
    assert isinstance(caught.value.__cause__, InputError)


def test_a_batch_that_would_leave_less_than_val_takes_is_refused_and_so_is_all_after_it(heard: Heard) -> None:
    trials = trials_of(heard, budget=9)
    student = trials.student()
    with pytest.raises(BudgetSpent, match="kept back for val"):
        trials.on_evaluate_start("id", None, {"program": student, "devset": trials.examples("train")})
    assert trials.budget.spent == 0
    with pytest.raises(BudgetSpent):
        trials.ask(student, Ticket(tasks("train", 1)[0], "train", OPEN))
    assert heard.asked == []


def test_after_the_end_threads_on_their_way_get_nothing(heard: Heard) -> None:
    trials = trials_of(heard)
    trials.close()
    with pytest.raises(BudgetSpent, match="has ended"):
        trials.ask(trials.student(), Ticket(tasks("train", 1)[0], "train", OPEN))


def test_candidates_are_scored_on_val_as_far_as_the_budget_goes_and_the_best_mean_leads(heard: Heard) -> None:
    trials = trials_of(heard, budget=9)
    student = trials.student()
    trials.baseline_pass()
    numbers = [trials.number_of(better(student, times)) for times in (3, 1, 2)]
    assert not trials.validate(numbers)
    assert [(event.number, event.best, event.spent) for event in heard.of(Validated)] == [
        (0, True, 0), (1, True, 4), (2, False, 8),
    ]  # fmt: skip
    assert [(event.number, event.accepted) for event in heard.of(Judged)] == [(1, True), (2, False)]
    assert trials.best == 1
    assert trials.is_validated(2)
    assert not trials.is_validated(3)
    trials.judge_rest("not tried")
    assert [event.reason for event in heard.of(Judged)][2:] == ["not tried"]


def test_the_first_of_equals_leads_and_what_is_scored_is_not_scored_again(heard: Heard) -> None:
    trials = trials_of(heard)
    trials.baseline_pass()
    student = trials.student()
    same = [trials.number_of(better(student, times)) for times in (10, 12)]
    assert trials.validate([*same, *same])
    assert trials.best == same[0]
    assert trials.budget.spent == 8


def test_the_score_that_was_asked_for_ends_the_search(heard: Heard) -> None:
    trials = trials_of(heard, stop_at=0.3)
    trials.baseline_pass()
    student = trials.student()
    assert trials.validate([trials.number_of(better(student, times)) for times in (3, 4)])
    assert trials.has_reached_score
    assert not trials.is_validated(2)
    with pytest.raises(ScoreReached):
        trials.ask(student, Ticket(tasks("train", 1)[0], "train", OPEN))


def test_of_those_tried_on_some_of_val_the_best_is_known(heard: Heard) -> None:
    trials = trials_of(heard)
    student = trials.student()
    for times in (1, 3):
        part = trials.examples("val")[:2]
        with dspy.context(callbacks=[trials]):
            dspy.Evaluate(devset=part, metric=trials.metric(), num_threads=1)(better(student, times))
    assert trials.best_on_part_of_val() == [2]
    trials.validate([2])
    assert trials.best_on_part_of_val() == [1]


def test_a_failed_proposal_is_told_of_and_a_judgement_stands(heard: Heard) -> None:
    trials = trials_of(heard)
    trials.failed("write", "no text")
    trials.judge(1, accepted=True, reason="first", before=None, after=0.5)
    trials.judge(1, accepted=False, reason="second", before=None, after=0.1)
    assert [(event.component, event.reason) for event in heard.of(ProposalFailed)] == [("write", "no text")]
    assert [event.reason for event in heard.of(Judged)] == ["first"]


def test_the_mean_of_a_batch() -> None:
    batch = Batch(1, {0: [0.0, 1.0], 1: [1.0]})
    assert batch.mean() == pytest.approx(2 / 3)
    assert batch.mean(1) == 1.0
    assert batch.mean(2) is None
    assert Batch(1).mean() is None


def test_a_verdict_is_false_at_nothing_and_a_bare_metric_gives_a_number(heard: Heard) -> None:
    assert not Verified(score=0.0, feedback="")
    assert Verified(score=0.1, feedback="")
    bare = ProgramAnswer({"reply": "x"}, is_prediction=True, calls=(), bare=True)
    heard.evaluate = lambda _candidate, _ticket: Graded("x", 0.5, "half", bare)
    trials = trials_of(heard, program=program(lambda gold, pred, trace=None: 0.5))
    example = trials.examples("train")[0]
    example.inputs()
    prediction = trials.student()(question="?")
    assert trials.metric()(example, prediction) == 0.5


# -- the copy of a program that an optimizer is handed


def test_a_copy_asks_for_a_trial_and_returns_what_the_program_returned(heard: Heard) -> None:
    target = program()
    module = journaled(target, lambda copy, ticket: answered(candidate_of(copy, {}), ticket))
    example = ticketed(target)(Ticket(tasks("val", 1)[0], "val", 0))
    prediction = module(**example.inputs())
    assert prediction.reply == "on val-0"
    assert dict(returned_by(prediction)) == {"reply": "on val-0"}
    assert type(module).__name__ == "Writer"
    assert example.copy().inputs().question == "Question 0"


def test_a_copy_fails_where_the_program_had_no_answer() -> None:
    target = program()
    module = journaled(target, lambda _copy, _ticket: Graded("", 0.0, "it raised", None))
    example = ticketed(target)(Ticket(tasks("val", 1)[0], "val", 0))
    with pytest.raises(ProgramFailed, match="it raised"):
        module(**example.inputs())


def test_each_copy_of_a_copy_is_told_of() -> None:
    told: list[tuple[Any, Any]] = []
    module = journaled(program(), lambda _copy, _ticket: Graded("", 0.0, "", None), lambda a, b: told.append((a, b)))
    made = module.deepcopy()
    again = made.deepcopy()
    assert told == [(module, made), (made, again)]


# -- SIMBA


class Fake:
    """Trials that keep what a `Stepwise` says of its steps."""

    def __init__(self) -> None:
        self.iteration = 0
        self.batch = Batch(1)
        self.judged: list[tuple[int, bool]] = []
        self.failures: list[tuple[str, str]] = []
        self.numbers = iter(range(1, 9))
        self.is_pairing = False

    def pair(self) -> None:
        self.is_pairing = True

    def number_of(self, _system: Any, _feedback: Any) -> int:
        return next(self.numbers)

    def judge(self, number: int, *, accepted: bool, **_more: Any) -> None:
        self.judged.append((number, accepted))

    def failed(self, component: str, reason: str) -> None:
        self.failures.append((component, reason))

    def is_validated(self, number: int) -> bool:
        return number == 1


def run_of(name: str, score: float) -> dict[str, Any]:
    example = ticketed(program())(Ticket(tasks(name, 1)[0], "train", 0))
    return {"example": example, "score": score, "output_metadata": {"feedback": "so so"}}


def stepwise(fake: Fake) -> Stepwise:
    return Stepwise(fake, metric="the metric", bsize=2, num_candidates=3, max_steps=1, prompt_model=None)  # type: ignore[arg-type]


def next_batch(fake: Fake, simba: Stepwise, batch: Batch) -> None:
    fake.is_pairing = False
    assert simba.metric == "the metric"
    fake.batch = batch


def test_the_best_new_program_of_a_step_is_kept_and_the_others_are_rejected() -> None:
    fake = Fake()
    simba = stepwise(fake)
    next_batch(fake, simba, Batch(1, {0: [0.5]}))
    watched = simba._watched(lambda _bucket, _system: True)
    bucket = [run_of("a", 1.0), run_of("a", 0.0)]
    assert watched(bucket, Writer())
    assert watched(bucket, Writer())
    next_batch(fake, simba, Batch(2, {1: [0.25], 2: [0.75]}))
    assert simba.winners_by_mean() == [2]
    assert fake.judged == [(1, False), (2, True)]
    assert fake.iteration == 1
    assert simba.reserve() == 2


def test_a_step_that_was_stopped_before_all_were_tried_has_no_best() -> None:
    fake = Fake()
    simba = stepwise(fake)
    next_batch(fake, simba, Batch(1))
    watched = simba._watched(lambda _bucket, _system: True)
    for _ in range(2):
        watched([run_of("a", 1.0), run_of("a", 0.0)], Writer())
    next_batch(fake, simba, Batch(2, {1: [0.25]}))
    assert simba.winners_by_mean() == []
    assert fake.judged == []


def test_a_strategy_that_fails_is_a_proposal_that_came_to_nothing() -> None:
    fake = Fake()
    simba = stepwise(fake)
    next_batch(fake, simba, Batch(1))

    def append_a_rule(_bucket: Any, _system: Any) -> bool:
        msg = "no\nrule"
        raise ValueError(msg)

    with pytest.raises(ValueError, match="no"):
        simba._watched(append_a_rule)([run_of("a", 1.0), run_of("a", 0.0)], Writer())
    assert fake.failures == [("write", "append_a_rule: ValueError: no rule")]


# -- the stages of BetterTogether


def test_every_stage_that_a_strategy_may_name_is_there() -> None:
    assert set(STAGES) == {*PLAIN_STAGES, "gepa", "mipro", "simba"}
    assert read_strategy("bootstrap->gepa") == ["bootstrap", "gepa"]


def test_a_stage_that_fails_ends_the_run_and_gives_back_what_it_kept(heard: Heard) -> None:
    trials = trials_of(heard)
    usual = trials.reserve

    def fails(stage: Stage, *_given: Any) -> Any:
        trials.reserve = lambda: 5
        assert stage.share == 7
        stage.given[2].clear()
        assert stage.given[2] == {"a": 1}, "a stage has its arguments to itself"
        msg = "out of words"
        raise RuntimeError(msg)

    stage = Stage(fails, trials.spec, trials, {"a": 1}, 7)
    with pytest.raises(SignalFailed) as caught:
        stage.compile(trials.student(), trainset=[])
    assert str(caught.value.__cause__) == "out of words"
    assert trials.reserve is usual


def test_a_stage_that_was_told_to_stop_says_that(heard: Heard) -> None:
    trials = trials_of(heard)

    def stop() -> None:
        msg = "cancelled"
        raise BudgetSpent(msg)

    def fails(*_given: Any) -> Any:
        heard.should_stop = stop
        msg = "because of the stop"
        raise RuntimeError(msg)

    with pytest.raises(BudgetSpent, match="cancelled"):
        Stage(fails, trials.spec, trials, {}, 1).compile(trials.student(), trainset=[])
