"""Promotion: the best text of a run becomes the next version, or is written where the user says; and back again.

Asked are a completed run, a changed text, a source that is what the run began with (never waived), a run that is not
degraded, a holdout that the search never saw, and the gates of its report (waived by force, with a reason, on record).
Every promotion is a row, and taking one back is a row too: nothing is ever unpublished.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from rollout_local.capabilities import changed_text
from rollout_local.capabilities.manifest import bumped, parsed_version
from rollout_local.capabilities.places import AgentPlace, FilePlace, Place, Problem
from rollout_local.clock import now
from rollout_local.domain.dataset import SPLITS
from rollout_local.domain.identity import text_hash
from rollout_local.domain.run import RunStatus
from rollout_local.domain.target import TEXT_COMPONENT
from rollout_local.errors import InputError, Refused
from rollout_local.reports import doubts
from rollout_local.reports import promotion as reports
from rollout_local.reports.evidence import texts_of
from rollout_local.reports.report import GateReport, Report
from rollout_local.reports.standing import standing
from rollout_local.store import reads, releases
from rollout_local.store.catalog_rows import NewPromotion, PromotionRow
from rollout_local.store.row_types import CommandRow, RunRow
from rollout_local.store.schema import Store
from rollout_local.store.seals import fits, seal
from rollout_local.store.stored_run import StoredRun
from rollout_local.targets.agent_files import columns, normalised, of_row


@dataclass(frozen=True)
class Preview:
    """What a promotion would do and what stands in its way. `gates` are the report's."""

    run_id: str
    target_id: str
    source: str
    destination: str
    diff: str
    gates: tuple[GateReport, ...]
    problems: tuple[Problem, ...]
    luck: str = ""

    @property
    def blocking(self) -> tuple[Problem, ...]:
        """The problems that no force waives."""
        return tuple(problem for problem in self.problems if not problem.forceable)

    def document(self) -> dict[str, object]:
        """The preview as JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Promoted:
    """What a promotion did; `promotion_id` is None for a dry run."""

    promotion_id: int | None
    destination: str
    diff: str
    forced: bool
    unmet: tuple[str, ...]


@dataclass(frozen=True)
class _Plan:
    preview: Preview
    place: Place
    text: str
    former: str


def preview(store: Store, run: RunRow, *, version: str | None = None, to: str | Path | None = None) -> Preview:
    """What promoting this run would publish, as a unified diff, and whether it may. Writes nothing."""
    return _planned(store, run, version, to).preview


def promote(
    store: Store,
    run: RunRow,
    *,
    actor: str,
    version: str | None = None,
    to: str | Path | None = None,
    force: bool = False,
    reason: str | None = None,
    dry_run: bool = False,
    at: str | None = None,
    request: int | None = None,
) -> Promoted:
    """Publish the best text of `run` and record it. `request` is the request in `run_commands` that this carries out.

    Raises `Refused`, in a sentence per thing that is not met, and `InputError` for a force without a reason or a code
    target without `to`. With `dry_run` everything is checked and nothing is written.
    """
    if force and not (reason or "").strip():
        msg = "--force goes on record with a reason; give --reason TEXT"
        raise InputError(msg)
    plan = _planned(store, run, version, to)
    shown = plan.preview
    _require_allowed(shown, force=force)
    unmet = tuple(problem.sentence for problem in shown.problems)
    if dry_run:
        return Promoted(None, shown.destination, shown.diff, bool(unmet), unmet)
    row: NewPromotion = {
        **_row(run, plan.text, plan.former, plan.place), "forced": int(bool(unmet)), "reason": reason,
        "unmet_json": json.dumps(unmet, ensure_ascii=False), "actor": actor, "at": at or now(),
    }  # fmt: skip
    promotion = _publish(store, plan.place, plan.text, row, request)
    return Promoted(promotion, shown.destination, shown.diff, bool(unmet), unmet)


def promote_as_asked(store: Store, request: CommandRow) -> None:
    """Carry out a row of `run_commands` that asks for a promotion, and mark it in the same transaction.

    Raises as `promote` does: a page waives no gate, and a target in code needs the file that only `--to` names.
    """
    promote(store, reads.run(store, request["run_id"]), actor=request["actor"], request=request["id"])


def revert(
    store: Store, run: RunRow, *, actor: str, reason: str | None = None, dry_run: bool = False, at: str | None = None
) -> Promoted:
    """Take the run's standing promotion back: its former text becomes the next version, or is written to its file.

    Raises `Refused` where there is nothing to take back, or the text was changed since.
    """
    standing = releases.standing(store, run["id"])
    if standing is None:
        msg = f"run {run['id']} has no promotion to take back"
        raise Refused(msg)
    place = _former_place(store, standing)
    diff = place.diff(standing["text"], standing["former_text"])
    if dry_run:
        return Promoted(None, place.destination, diff, forced=False, unmet=())
    row: NewPromotion = {
        **_row(run, standing["former_text"], standing["text"], place), "reason": reason, "actor": actor,
        "at": at or now(), "reverts": standing["id"],
    }  # fmt: skip
    promotion = _publish(store, place, standing["former_text"], row)
    return Promoted(promotion, place.destination, diff, forced=False, unmet=())


def _planned(store: Store, run: RunRow, version: str | None, to: str | Path | None) -> _Plan:
    former, text = _texts(store, run)
    if StoredRun(run).config.capability:
        if to is not None:
            msg = "--to is for targets in code; a capability is published as a version: give --version"
            raise InputError(msg)
        place: Place = _agent_place(store, run, text, version)
    else:
        if version is not None:
            msg = "--version is for capabilities; a target in code is written to a file: give --to FILE"
            raise InputError(msg)
        place = FilePlace(Path(to) if to is not None else None, run["target_id"])
    report = _report(store, run)
    shown = Preview(
        run_id=run["id"],
        target_id=run["target_id"],
        source=place.source,
        destination=place.destination,
        diff=place.diff(former, text),
        gates=tuple(report["gates"]) if report else (),
        problems=tuple(_problems(store, run, report, former, text, place)),
        luck=report["verdict"]["luck_sentence"] if report else "",
    )
    return _Plan(shown, place, text, former)


def _texts(store: Store, run: RunRow) -> tuple[str, str]:
    """The baseline's text and the best one's; several components are one JSON text."""
    if run["baseline_candidate_id"] is None:
        msg = f"run {run['id']} is {run['status']} and has evaluated nothing; only a completed run can be promoted"
        raise Refused(msg)
    ids = (run["baseline_candidate_id"], run["best_candidate_id"] or run["baseline_candidate_id"])
    former, best = (_text(texts_of(reads.candidate(store, candidate))) for candidate in ids)
    return former, best


def _text(components: Mapping[str, str]) -> str:
    if set(components) == {TEXT_COMPONENT}:
        return components[TEXT_COMPONENT]
    return json.dumps(dict(components), ensure_ascii=False, indent=2)


def _agent_place(store: Store, run: RunRow, text: str, version: str | None) -> AgentPlace:
    """The next version of the agent that the run optimized."""
    reference, _, agent = run["target_id"].partition(":")
    source = of_row(releases.find_version(store, reference))
    newest = of_row(releases.find_version(store, source.name))
    number = bumped(newest.version) if version is None else parsed_version(version, "--version")
    target_row = reads.target(store, run["target_row_id"])
    is_taken = releases.version(store, source.name, number) is not None
    return AgentPlace.planned(
        source, newest, agent, text, number, is_taken=is_taken, began_with=target_row["source_hash"]
    )


def _report(store: Store, run: RunRow) -> Report | None:
    """The run's newest report, made anew where none was stored; None where the run is not completed."""
    if run["status"] != RunStatus.COMPLETED:
        return None
    return standing(store, run["id"], run["attempt"], StoredRun(run).config) or reports.build(store, run)


def _problems(
    store: Store, run: RunRow, report: Report | None, former: str, text: str, place: Place
) -> Iterator[Problem]:
    if report is None:
        yield Problem("completed", f"Run {run['id']} is {run['status']}; only a completed run can be promoted.", False)
    if not text.strip():
        yield Problem("changed", "The best text is empty.", False)
    elif normalised(former) == normalised(text):
        yield Problem("changed", "No text did better than the baseline, so there is nothing to promote.", False)
    else:
        yield from place.problems(former, text)
    split = StoredRun(run).split
    seen = doubts.seen_holdout(
        {name: split.names(name) for name in SPLITS}, own_val=run["val_dataset_id"] is None,
        executed=releases.has_holdout_trials_in_search(store, run["id"], run["attempt"]),
    )  # fmt: skip
    if seen:
        yield Problem("holdout", f"{seen[:1].upper()}{seen[1:]}.", True)
    for gate in report["gates"] if report else ():
        if not gate["met"] and gate["name"] != "changed":
            yield Problem(gate["name"], gate["sentence"], True)


def _require_allowed(shown: Preview, *, force: bool) -> None:
    if shown.blocking:
        raise Refused(" ".join(problem.sentence for problem in shown.blocking))
    if shown.problems and not force:
        said = " ".join(problem.sentence for problem in shown.problems)
        msg = f"{said} Go on all the same with --force --reason TEXT."
        raise Refused(msg)


def _former_place(store: Store, standing: PromotionRow) -> Place:
    """Where a promotion's former text goes; `Refused` where what was promoted is no longer there."""
    if standing["to_path"] is not None:
        place = FilePlace(Path(standing["to_path"]), standing["target_id"])
        if not changed_text.same(changed_text.held(Path(standing["to_path"])), standing["text"]):
            msg = f"{standing['to_path']} holds another text than was promoted; nothing was taken back"
            raise Refused(msg)
        return place
    assert standing["capability"] is not None, "where there is no path, there is a capability"
    newest = of_row(releases.find_version(store, standing["capability"]))
    names = [agent.name for agent in newest.agents]
    agent = standing["agent"]
    if agent is None or agent not in names or not changed_text.same(newest.agent(agent).body, standing["text"]):
        msg = f"{newest.reference} has another text for {agent} than was promoted; nothing was taken back"
        raise Refused(msg)
    number = bumped(newest.version)
    return AgentPlace(newest, agent, changed_text.next_version(newest, agent, standing["former_text"], number), ())


def _row(run: RunRow, text: str, former: str, place: Place) -> NewPromotion:
    """The row of a promotion that nothing was waived for, by nobody yet."""
    return {
        "run_id": run["id"], "attempt": run["attempt"], "target_id": run["target_id"], "text": text,
        "text_hash": text_hash(text), "former_text": former, "former_hash": text_hash(former), "forced": 0,
        "reason": None, "unmet_json": "[]", "actor": "", "at": "", "reverts": None, "pending": None, **place.columns(),
    }  # fmt: skip


def finish(store: Store) -> None:
    """Let files take their places whose promotion was recorded by a process that died before the last step.

    The row says by its seal that it was written here: what another's database says of files is not followed.
    """
    for row in releases.pending(store):
        if row["to_path"] is not None and fits(row["pending"], *_landing(row["to_path"], row["text"])):
            changed_text.land(changed_text.staged_beside(Path(row["to_path"]), row["text"]), Path(row["to_path"]))
            releases.set_landed(store, row["id"])


def _landing(to_path: str | None, text: str) -> tuple[str, ...]:
    return "promotion", str(to_path), text


def _publish(store: Store, place: Place, text: str, row: NewPromotion, request: int | None = None) -> int:
    """The row and what it records, both or neither: a file is staged before the row, and takes its place after it.

    Where the process dies between these two, the next command does the last step (`finish`).
    """
    if isinstance(place, AgentPlace):
        release = {**columns(place.made), "promoted_from_run": row["run_id"], "created_at": row["at"]}
        return _recorded(store, place, row, release, f"published as {place.destination}", request)
    staged = changed_text.stage(place.required, text)
    try:
        row = {**row, "pending": seal(*_landing(row["to_path"], text))}
        promotion = _recorded(store, place, row, None, f"written to {place.destination}", request)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise
    try:
        changed_text.land(staged, place.required)
    except OSError as error:
        msg = (
            f"{place.required} cannot be written ({error.strerror or error}); the promotion is recorded, and the next "
            "command writes the file once that is mended"
        )
        raise InputError(msg) from error
    releases.set_landed(store, promotion)
    return promotion


def _recorded(
    store: Store,
    place: Place,
    row: NewPromotion,
    release: Mapping[str, object] | None,
    said: str,
    request: int | None,
) -> int:
    promotion = releases.add_promotion(store, row, release, said=said, request=request)
    if promotion is None:
        msg = f"{place.destination} was published, or the promotion taken back, by somebody else in this moment"
        raise Refused(msg)
    return promotion
