"""The flags of `optimize create`, `run` and `submit`, and the RunConfig that they make."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rollout_local.cli.options import parse_pairs
from rollout_local.errors import InputError

if TYPE_CHECKING:
    from rollout_local.domain.run import RunConfig

Command = TypeVar("Command", bound=Callable[..., Any])

LONGEST_SHOWN = 60
"""Characters of a wrong value that a refusal repeats."""


def _option(*names: str, **settings: Any) -> Callable[[Command], Command]:
    return click.option(*names, **settings)


FLAGS: tuple[Callable[[object], Any], ...] = (
    _option("--module", "modules", multiple=True, help="Module that registers targets (repeatable)."),
    _option("--target", help="Id of the target."),
    _option("--target-url", metavar="URL", help="In place of --module: an endpoint, in any language, that answers "
            "POSTs of rollout-target/1 (describe, run)."),
    _option("--target-header", "target_headers", multiple=True, metavar="'NAME: VALUE'",
            help="Header for that endpoint (repeatable). It is stored with the run, so $VARIABLE in the value is read "
            "from the environment when it is sent, and what may be a secret must be given that way."),
    _option("--target-bearer-env", metavar="VARIABLE",
            help="Environment variable with a bearer token for that endpoint."),
    _option("--capability", metavar="NAME[@VERSION]", help="A published capability; one of its agents is the target."),
    _option("--agent", help="Its agent (default: the only one)."),
    _option("--dataset", help="A table (tickets.csv, rows.jsonl, hf:NAME), a Harbor folder, or SLUG[@VERSION] of an "
            "imported dataset."),
    _option("--instruction", metavar="COL", help="Column of the table that becomes the instruction."),
    _option("--input", "inputs", metavar="KEY=COL", multiple=True,
            help="Column that becomes input KEY (repeatable; COL alone is KEY, too)."),
    _option("--expected", metavar="COL", help="Column that holds the expected output."),
    _option("--metadata", metavar="KEY=COL", multiple=True, help="Column that becomes metadata KEY (repeatable)."),
    _option("--task-name", metavar="COL", help="Column that names the tasks (default: task-0001 …)."),
    _option("--drop-duplicates", is_flag=True, default=None, help="Of rows that ask the same, keep the first."),
    _option("--val-dataset", help="Replaces val; the holdout stays the main dataset's."),
    _option("--verifier", "verifiers", multiple=True,
            help="Verifier file or id, or a check by name: equals, 'max_length value=900' (repeatable; scores are "
            "averaged)."),
    _option("--reward", metavar="RECIPE", help="Reward recipe, such as exact_match_v1; a verifier of its own."),
    _option("--reward-params", metavar="JSON", help="Parameters of the reward, as a JSON object."),
    _option("--allow-constant-reward", is_flag=True, default=None,
            help="Allow a reward that does not depend on the text, to replay scores."),
    _option("--splits-file", help="JSON with the task names of train, val and holdout."),
    _option("--max-tasks", type=int, help="At most N tasks per split, for smoke tests."),
    _option("--reflection-model", envvar="ROLLOUT_GEPA_REFLECTION_MODEL", help="Model that proposes prompts."),
    _option("--task-model", envvar="ROLLOUT_GEPA_STUDENT_MODEL", help="Model that the target calls."),
    _option("--reflection-api-base", help="URL of a local server for the reflection model; no key is then required."),
    _option("--task-api-base", help="URL of a local server for the task model; no key is then required."),
    _option("--reflection-param", "reflection_params", multiple=True, metavar="K=V",
            help="Parameter of the reflection model (default temperature=1.0, max_tokens=32000). A secret is written "
            "as $VARIABLE, which is read from the environment when it is used: api_key=$TEAM_KEY."),
    _option("--task-param", "task_params", multiple=True, metavar="K=V", help="Parameter of the task model."),
    _option("--auto", type=click.Choice(["light", "medium", "heavy"]), help="Preset budget (default light)."),
    _option("--max-metric-calls", type=int, help="At most N target executions beyond the baseline pass."),
    _option("--max-full-evals", type=int, help="Budget in passes over train and val."),
    _option("--max-cost", type=float, help="Pause before USD are passed."),
    _option("--max-seconds", type=float, help="Pause after this much running time."),
    _option("--patience", type=float, metavar="SECONDS",
            help="Wait so long for a server that answered before and is away now, then pause (default 60)."),
    _option("--reflection-timeout", type=float, metavar="SECONDS",
            help="Longest time that the reflection model may take for one answer (default 600)."),
    _option("--price", "prices", multiple=True, metavar="MODEL=IN,OUT", help="USD per million tokens."),
    _option("--no-improvement", type=int, help="Stop after N iterations without a better val mean."),
    _option("--stop-at", type=float, help="Stop when the best val mean reaches X (0-1)."),
    _option("--min-holdout-improvement", type=float, help="Gate: lift on the holdout of at least X (absolute, 0-1)."),
    _option("--confidence", type=float, help="Gate: the paired interval at this level lies above 0 (e.g. 0.95)."),
    _option("--concurrency", type=int, envvar="ROLLOUT_GEPA_CONCURRENCY",
            help="Trials at once (default 4, at most 1024)."),
    _option("--seed", type=int, help="Seed of the search and of the split (default 0)."),
    _option("--optimizer", help="Which optimizer (default gepa)."),
    _option("--strategy", help="Stages of bettertogether, as in \"bootstrap -> gepa\" (or few_shot)."),
    _option("--arg", "--gepa", "arguments", multiple=True, metavar="K=V",
            help="Argument of the optimizer (`rollout optimize engines` lists them)."),
    _option("--allow-failing-baseline", is_flag=True, default=None,
            help="Search even where the target itself failed on every task of the baseline."),
    _option("--allow-constant-score", is_flag=True, default=None,
            help="Search even where all tasks of the baseline have the same score."),
    _option("--objective", help="What to aim for; told to the reflection model."),
    _option("--project", help="Project the run belongs to (default: default)."),
    _option("--run-ref", help="Your own reference."),
    _option("--tag", "tags", multiple=True, help="Tag (repeatable)."),
    _option("--name", help="Name of the run (at most 200 characters)."),
    _option("--log-dir", help="Folder of the run's recording (default .rollout/<run id>)."),
    _option("--recording", help="Recording file (default <log-dir>/recording.yaml)."),
    _option("--record-mode", type=click.Choice(["new_episodes", "none", "once", "all"]),
            help="vcrpy's modes (default new_episodes); none replays with no socket at all."),
    _option("--replay", metavar="FILE", help="That recording, mode none."),
    _option("--ignore-field", "ignore_fields", multiple=True,
            help="What does not tell requests apart: a field of any depth, a path (messages.0.content), or what "
            "matches in a text (PATH~REGEX, ~REGEX)."),
    _option("--offline", is_flag=True, default=None, help="Live, but loopback and --allow-host only."),
    _option("--allow-host", "allow_hosts", multiple=True, help="Host that --offline may reach."),
    _option("--keep-lookalikes", is_flag=True, default=None,
            help="Keep data that looks like a key: what stands in the tasks, verifiers or baseline is no secret "
            "(values of secret-named environment variables are taken out all the same)."),
    _option("--no-recording", is_flag=True, default=None, help="Record nothing."),
    _option("--reuse", is_flag=True, default=None, help="Let a trial of the same candidate in the file stand in."),
    _option("--timeout", type=float, help="Seconds per trial."),
    _option("--isolate", is_flag=True, default=None,
            help="Run the target in child processes: one that hangs past --timeout, crashes or breaks its process ends "
            "that and its trial alone."),
)  # fmt: skip


COLUMNS = {
    "instruction": "instruction", "inputs": "inputs", "expected": "expected", "metadata": "metadata",
    "task_name": "name", "drop_duplicates": "drop_duplicates",
}  # fmt: skip
"""Flag → the field of `Columns` that it fills."""


def pairs_of_columns(values: Sequence[str], flag: str) -> dict[str, str]:
    """`KEY=COL` options as key → column, both text whatever they look like; `COL` alone is both."""
    found: dict[str, str] = {}
    for value in values:
        key, separator, column = value.partition("=")
        column = column if separator else key
        if not key or not column:
            msg = f"{flag} takes KEY=COLUMN, not {value!r}"
            raise InputError(msg)
        if key in found:
            msg = f"{flag} gives {key!r} twice, from {found[key]!r} and {column!r}; keep one"
            raise InputError(msg)
        found[key] = column
    return found


SECTIONS: dict[str, tuple[str, ...]] = {
    "What is optimized (one of --module, --target-url, --capability)": (
        "modules", "target", "target_url", "target_headers", "target_bearer_env", "capability", "agent",
    ),
    "On what, and how it is graded (--dataset and --verifier, unless a DSPy program brings its own)": (
        "dataset", "instruction", "inputs", "expected", "metadata", "task_name", "drop_duplicates", "val_dataset",
        "splits_file", "max_tasks", "verifiers", "reward", "reward_params", "allow_constant_reward",
    ),
    "Models (--reflection-model is required)": (
        "reflection_model", "task_model", "reflection_api_base", "task_api_base", "reflection_params", "task_params",
        "prices",
    ),
    "How long, and how much": (
        "auto", "max_metric_calls", "max_full_evals", "max_cost", "max_seconds", "no_improvement", "stop_at",
        "concurrency", "timeout", "reflection_timeout", "patience",
    ),
    "How it is searched, and what a promotion asks": (
        "optimizer", "strategy", "arguments", "seed", "objective", "reuse", "min_holdout_improvement", "confidence",
        "allow_failing_baseline", "allow_constant_score", "isolate",
    ),
    "Recording and the network": (
        "log_dir", "recording", "record_mode", "replay", "ignore_fields", "no_recording", "keep_lookalikes", "offline",
        "allow_hosts",
    ),
    "Names": ("name", "project", "tags", "run_ref"),
}  # fmt: skip
"""The flags of a run as its help shows them, by what they are about."""
EXAMPLE = """\
rollout optimize run --module agent --dataset tickets.csv --instruction text --expected label --verifier equals
    --task-model openai/gpt-4.1-nano --reflection-model openai/gpt-4.1 --max-metric-calls 200 --max-cost 5
"""


class RunCommand(click.Command):
    """A command with all flags of a run, whose help groups them."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The sections in order, what is left over last, and an example."""
        records = {param.name: record for param in self.get_params(ctx) if (record := param.get_help_record(ctx))}
        for title, names in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([records.pop(name) for name in names if name in records])
        with formatter.section("This command"):
            formatter.write_dl(list(records.values()))
        with formatter.section("Example"):
            formatter.write("".join(f"  {line}\n" for line in EXAMPLE.splitlines()))


def run_flags(command: Command) -> Command:
    """All flags of a run on a command; it receives them as keyword arguments."""
    for flag in reversed(FLAGS):
        command = flag(command)
    return command


def given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a RunConfig from the flags that were given."""
    fields = {name: value for name, value in values.items() if value is not None and value != ()}
    for name, flag in (
        ("reflection_params", "--reflection-param"),
        ("task_params", "--task-param"),
        ("arguments", "--arg"),
    ):
        if name in fields:
            fields[name] = parse_pairs(fields[name], flag)
    columns = {field: fields.pop(flag) for flag, field in COLUMNS.items() if flag in fields}
    if columns:
        fields["columns"] = {**columns, **{name: pairs_of_columns(columns[name], f"--{flag}")
                                           for name, flag in (("inputs", "input"), ("metadata", "metadata"))
                                           if name in columns}}  # fmt: skip
    if "reward_params" in fields:
        fields["reward_params"] = _object(fields["reward_params"], "--reward-params")
    if "prices" in fields:
        fields["prices"] = _prices(fields["prices"])
    if "replay" in fields:
        fields["recording"], fields["record_mode"] = fields.pop("replay"), "none"
    return fields


def config_of(fields: Mapping[str, Any]) -> RunConfig:
    """A RunConfig; what is wrong with it is one sentence that names the flag."""
    from pydantic import ValidationError

    from rollout_local.domain.run import RunConfig, reflection_params

    values = dict(fields)
    if "reflection_params" in values:
        values["reflection_params"] = reflection_params(values["reflection_params"])
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        raise click.UsageError(_sentence(error)) from error


def _sentence(error: Any) -> str:
    from rollout_local.domain.validation import first_problem

    place, problem = first_problem(error)
    if not place:
        return problem
    flag = place.partition(".")[0].replace("_", "-")
    given = str(error.errors()[0]["input"])
    shown = given if len(given) <= LONGEST_SHOWN else f"{given[:LONGEST_SHOWN]}…"
    return f"--{flag} {shown}: {problem}"


def _object(text: str, flag: str) -> dict[str, object]:
    from rollout_local.documents import parse_json

    found = parse_json(text, flag)
    if not isinstance(found, dict):
        msg = f'{flag} takes a JSON object, such as {{"needle": "30 days"}}, not {text!r}'
        raise click.UsageError(msg)
    return found


def _prices(values: tuple[str, ...]) -> dict[str, tuple[float, float]]:
    prices = {}
    for value in values:
        model, _, pair = value.partition("=")
        try:
            per_in, per_out = (float(part) for part in pair.split(","))
            if not (model and 0 <= per_in < math.inf and 0 <= per_out < math.inf):
                raise ValueError(value)
        except ValueError:
            msg = f"--price takes MODEL=IN,OUT (USD per million input and output tokens), not {value!r}"
            raise click.UsageError(msg) from None
        prices[model] = (per_in, per_out)
    return prices
