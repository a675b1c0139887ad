"""A DSPy program as a target: its predictors' instructions are the candidate, one text each.

The program is built once by the user's function; every candidate gets a copy with its own texts, which all its
trials share, as under DSPy's own `Evaluate`. What each predictor was asked and answered is kept with the trial,
so that a resumed search can reflect on it without a call. DSPy is imported when a program is first built.
"""

from __future__ import annotations

import inspect
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from typing import Any, cast

from rollout_local.domain.dataset import Task
from rollout_local.domain.identity import canonical_json
from rollout_local.domain.program import DEMOS, ProgramAnswer, ProgramResult, Unparsed
from rollout_local.domain.target import Candidate, TargetKind
from rollout_local.domain.verdict import Verdict
from rollout_local.errors import InputError
from rollout_local.targets import program_records
from rollout_local.targets.decorated import Decorated
from rollout_local.targets.function import wait_for
from rollout_local.targets.program_metric import Metric, ScoredBy

_models: ContextVar[Mapping[str, object] | None] = ContextVar("rollout_sampled_models", default=None)

KEPT = 16
"""Copies of the program, one per candidate, that are kept ready."""


class ProgramTarget(Decorated):
    """A function that returns a `dspy.Module`, registered under an id.

    `metric` is DSPy's, of two, three or five arguments (`gold, pred, trace, pred_name, pred_trace`), returning a score
    in [0, 1], with feedback where GEPA is to reflect on words.
    `example` makes a `dspy.Example` of a task; by default the task's input fields are the example's inputs, and
    its metadata and expected output the labels. `examples` are `dspy.Example` lists to work on where no dataset
    is given.
    """

    def __init__(
        self,
        function: Callable[[], object],
        *,
        id: str,
        metric: Metric | None = None,
        kind: TargetKind = TargetKind.PROMPT,
        description: str = "",
        example: Callable[[Task], object] | None = None,
        examples: object = None,
    ) -> None:
        self.function = function
        self.id = id
        self.kind = kind
        self.description = description
        self.metric: ScoredBy | None = ScoredBy(metric, id) if metric is not None else None
        self.examples = examples
        self._example = example
        self._copies: OrderedDict[str, object] = OrderedDict()
        self._lock = threading.Lock()

    @cached_property
    def module(self) -> Any:
        """The program with its own instructions. Raises `InputError` where the function gives no program."""
        import dspy

        try:
            built = self.function()
        except Exception as error:
            msg = f"target {self.id!r}: building the program failed at {self.place}: {type(error).__name__}: {error}"
            raise InputError(msg) from error
        if inspect.isclass(built) and issubclass(built, dspy.Module):
            built = built()
        if not isinstance(built, dspy.Module):
            msg = f"target {self.id!r}: {self.place} returned a {type(built).__name__}; return a dspy.Module"
            raise InputError(msg)
        if any(isinstance(part, dspy.Flex) for _, part in built.named_parameters()):
            msg = f"target {self.id!r}: dspy.Flex runs code that a model wrote, and a run executes no text of a model"
            raise InputError(msg)
        if not built.named_predictors():
            msg = f"target {self.id!r}: the program has no predictor whose instructions could be optimized"
            raise InputError(msg)
        return built

    @cached_property
    def baseline(self) -> Candidate:
        """The instructions of each predictor, by its path in the program."""
        texts = {name: predictor.signature.instructions for name, predictor in self.module.named_predictors()}
        for name, text in texts.items():
            if not text.strip():
                msg = f"target {self.id!r}: predictor {name} has empty instructions; GEPA needs a text to start from"
                raise InputError(msg)
        return Candidate(components=texts)

    def example(self, task: Task) -> Any:
        """The task as a `dspy.Example`, its inputs marked."""
        import dspy

        if self._example is not None:
            return self._example(task)
        inputs = dict(task.input) or {"instruction": task.instruction}
        labels = dict(task.metadata)
        if isinstance(task.expected_output, Mapping):
            labels |= task.expected_output
        elif task.expected_output is not None:
            labels["expected_output"] = task.expected_output
        return dspy.Example(**{**labels, **inputs}).with_inputs(*inputs)

    def try_metric(self, task: Task) -> None:
        """Ask the metric for the grade of the task's own labels. Raises what it raises; `OutOfScale` above all."""
        import dspy

        assert self.metric is not None, "only a target that grades itself is asked"
        example = self.example(task)
        labels = dict(example.labels().items())
        _, last = self.module.named_predictors()[-1]
        answers = {name: labels.get(name, task.expected_output) for name in last.signature.output_fields}
        self.metric.verdict(example, dspy.Prediction(**{**labels, **answers}))

    def run(self, task: Task, candidate: Candidate) -> ProgramResult:
        """Execute once and, where the program has a metric, grade. What the program raises comes through unchanged.

        A reply that a predictor cannot read is the candidate's doing: a score of 0 that says so. Raises
        `GradingError` where the metric itself fails.
        """
        import dspy
        from dspy.utils.exceptions import AdapterParseError

        from rollout_local.targets.program_spans import spans_of

        program, example = self._ready(candidate), self.example(task)
        dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
        with spans_of(program), dspy.context(trace=[]):
            try:
                returned = _answered(program, dict(example.inputs().items()))
            except AdapterParseError as error:
                return self._unparsed(program, error, dspy.settings.trace)
            trace = list(dspy.settings.trace)
        verdict, objectives, bare = (None, {}, False) if self.metric is None else self.metric.verdict(example, returned)
        answer = program_records.answer_of(program, returned, trace, objectives, bare=bare)
        return ProgramResult(
            output=program_records.shown(answer), verdict=verdict, answer=answer,
            record=program_records.encode(answer, program),
        )  # fmt: skip

    def recall(self, record: Mapping[str, object], candidate: Candidate) -> ProgramAnswer:
        """The answer that `record` keeps."""
        return program_records.decode(cast("program_records.AnswerRecord", record), self.with_texts(candidate))

    @contextmanager
    def sampled(self, models: Mapping[str, object]) -> Iterator[None]:
        """Inside the block, in this context, `run` lets the predictors that are named ask these models."""
        token = _models.set(models)
        try:
            yield
        finally:
            _models.reset(token)

    def _ready(self, candidate: Candidate) -> Any:
        """The program to run: the shared copy, or one of its own.

        That is where its predictors ask other models this time, and where DSPy counts failures in the program itself:
        the trials of a candidate would have one count, and fail by which of them came first.
        """
        models = _models.get() or {}
        if not models and not _counts_failures(self.module):
            return self.with_texts(candidate)
        program = apply(self.module.deepcopy(), candidate)
        for name, predictor in program.named_predictors():
            predictor.lm = models.get(name, predictor.lm)
        return program

    def with_texts(self, candidate: Candidate) -> Any:
        """The program with a candidate's texts; the same copy for all trials of one candidate."""
        key = candidate.content_hash
        with self._lock:
            if key not in self._copies:
                self._copies[key] = apply(self.module.deepcopy(), candidate)
            self._copies.move_to_end(key)
            while len(self._copies) > KEPT:
                self._copies.popitem(last=False)
            return self._copies[key]

    def _unparsed(self, program: Any, error: Any, trace: Any) -> ProgramResult:
        name = program_records.name_of(program, error.signature)
        unparsed = Unparsed(name, error.adapter_name, str(error.lm_response), error.parsed_result)
        answer = program_records.answer_of(program, None, list(trace), {}, unparsed)
        words = f"the reply of the model could not be read by predictor {name}: {_first_line(error)}"
        return ProgramResult(
            output="", verdict=Verdict(score=0.0, passed=False, feedback=words), error=words, answer=answer,
            record=program_records.encode(answer, program),
        )  # fmt: skip


def _answered(program: Any, inputs: Mapping[str, Any]) -> Any:
    """What the program returns; a `forward` that is async, or an `aforward` alone, is waited for."""
    if not hasattr(type(program), "forward"):
        return wait_for(program.acall(**inputs))
    returned = program(**inputs)
    return wait_for(returned) if inspect.isawaitable(returned) else returned


def _counts_failures(program: Any) -> bool:
    import dspy

    return any(isinstance(module, (dspy.Refine, dspy.BestOfN)) for _, module in program.named_sub_modules())


def apply(program: Any, candidate: Candidate) -> Any:
    """Put a candidate's texts (and demonstrations) into a program. Returns the program."""
    import dspy

    predictors = dict(program.named_predictors())
    for name, text in candidate.components.items():
        if name in predictors:
            predictors[name].signature = predictors[name].signature.with_instructions(text)
        elif name.endswith(DEMOS) and name.removesuffix(DEMOS) in predictors:
            predictor = predictors[name.removesuffix(DEMOS)]
            demos = [program_records.typed(demo, [predictor.signature]) for demo in json.loads(text)]
            predictor.demos = [dspy.Example(**demo) for demo in demos]
        else:
            msg = f"the program has no predictor {name!r} (it has {', '.join(predictors)})"
            raise InputError(msg)
    return program


def saved(target: ProgramTarget, candidate: Candidate) -> str:
    """The program with a candidate's texts as the JSON that `program.load` reads, proven by loading it."""
    import tempfile
    from pathlib import Path

    program = target.with_texts(candidate)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "program.json"
        program.save(str(path))
        text = path.read_text(encoding="utf-8")
        again = target.module.deepcopy()
        again.load(str(path))
    if _said(again) != _said(program):
        msg = f"target {target.id!r}: the program does not come back from its own JSON as it was"
        raise InputError(msg)
    return text


def ensemble_of(
    target: ProgramTarget, candidates: Sequence[Candidate], reduce_fn: Callable[..., object] | None, size: int | None
) -> Any:
    """DSPy's ensemble of the program with each candidate's texts."""
    from dspy.teleprompt import Ensemble

    programs = [apply(target.module.deepcopy(), candidate) for candidate in candidates]
    return Ensemble(reduce_fn=reduce_fn, size=size).compile(programs)


def _said(program: Any) -> str:
    """Instructions and demonstrations, as JSON."""
    return canonical_json(
        {
            name: [predictor.signature.instructions, [program_records.plain(dict(demo)) for demo in predictor.demos]]
            for name, predictor in program.named_predictors()
        }
    )


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
