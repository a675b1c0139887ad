"""What a page asks of a worker: carried out once, whoever it is, and answered in words."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from rollout_local.capabilities import promote, promote_as_asked
from rollout_local.domain.run import RunStatus
from rollout_local.errors import Refused
from rollout_local.planning import trust
from rollout_local.runs import worker
from rollout_local.stop import StopFlag
from rollout_local.store import lifecycle, reads, releases
from rollout_local.store.schema import open_store

from .conftest import AT

HEEDS = {"promote": promote_as_asked}


def ask(store, action, run="opt_run"):
    return lifecycle.add_command(store, run, action, "root", AT)


def answer(store, request):
    row = store.row("SELECT handled_at, note FROM run_commands WHERE id = ?", (request,))
    return row["note"] if row["handled_at"] else None


def heed(store, **options):
    """One worker that looks once; it finds nothing to run."""
    assert worker.work(store.path, store.path.parent, StopFlag(), once=True, heeds=HEEDS, **options) == []


def heed_at_once(store, workers):
    """Several workers that look at the same moment."""

    def look(_):
        with open_store(store.path) as own:
            worker._heed_requests(own, {"retry": worker._retry, **HEEDS}, None)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(look, range(workers)))


def test_a_worker_publishes_what_was_asked_for(store, agent_run):
    agent_run()
    request = ask(store, "promote")
    heed(store)
    assert answer(store, request) == "published as support@1.0.1"
    (row,) = releases.promotions(store, "opt_run")
    assert (row["to_version"], row["actor"], row["forced"]) == ("1.0.1", "root", 0)


def test_the_page_learns_of_the_answer(store, agent_run):
    agent_run()
    ask(store, "promote")
    before = reads.run(store, "opt_run")["rev"]
    heed(store)
    assert reads.run(store, "opt_run")["rev"] > before


def test_several_workers_publish_once(store, agent_run):
    agent_run()
    request = ask(store, "promote")
    heed_at_once(store, 8)
    assert answer(store, request) == "published as support@1.0.1"
    assert [row["version"] for row in releases.versions(store)] == ["1.0.0", "1.0.1"]
    assert len(releases.promotions(store)) == 1


def test_asking_twice_publishes_once_and_answers_both(store, agent_run):
    agent_run()
    asked = [ask(store, "promote") for _ in range(2)]
    heed(store)
    assert [answer(store, request) for request in asked] == ["published as support@1.0.1"] * 2
    assert len(releases.promotions(store)) == 1


def test_what_another_one_carried_out_meanwhile_is_left(store, agent_run):
    """Two workers planned the same promotion; the second finds the request answered and writes nothing."""
    run = agent_run()
    request = ask(store, "promote")
    lifecycle.handle_command(store, request, AT, "by another")
    with pytest.raises(Refused, match="by somebody else in this moment"):
        promote(store, run, actor="root", request=request)
    assert releases.promotions(store) == []
    assert len(releases.versions(store)) == 1


def test_a_target_in_code_is_refused_since_it_needs_a_file(store, code_run):
    code_run()
    request = ask(store, "promote")
    heed(store)
    assert answer(store, request).startswith("refused: desk is a target in code; say with --to FILE where")
    assert releases.promotions(store) == []


def test_a_page_waives_no_gate(store, agent_run):
    agent_run(lift=0.0)
    request = ask(store, "promote")
    heed(store)
    assert answer(store, request).startswith("refused: ")
    assert "Go on all the same with --force --reason TEXT" in answer(store, request)
    assert releases.promotions(store) == []


def test_whoever_types_it_answers_those_who_asked(store, code_run, tmp_path):
    run = code_run()
    request = ask(store, "promote")
    promote(store, run, actor="ada", to=tmp_path / "prompt.txt")
    assert answer(store, request) == f"written to {tmp_path / 'prompt.txt'}"


def test_only_requests_on_runs_of_its_project_are_a_workers(store, agent_run):
    agent_run()
    request = ask(store, "promote")
    heed(store, project="another")
    assert answer(store, request) is None
    heed(store, project="default")
    assert answer(store, request) == "published as support@1.0.1"


def test_what_a_worker_does_not_know_is_left_for_whoever_does(store, agent_run):
    agent_run()
    asked = [ask(store, "pause"), ask(store, "promote")]
    assert worker.work(store.path, store.path.parent, StopFlag(), once=True) == []
    assert [answer(store, request) for request in asked] == [None, None]


def test_several_workers_queue_a_retry_once(store, agent_run):
    agent_run(status=RunStatus.FAILED)
    trust.confirm(store, reads.run(store, "opt_run"))
    request = ask(store, "retry")
    heed_at_once(store, 8)
    run = reads.run(store, "opt_run")
    assert (run["status"], run["wants_fresh"]) == ("queued", 1)
    assert answer(store, request) == "queued"


def test_a_retry_of_a_run_that_goes_on_is_refused_in_words(store, agent_run):
    agent_run(status=RunStatus.PAUSED)
    request = ask(store, "retry")
    heed(store)
    assert answer(store, request).startswith("refused: run opt_run is paused; only a run that has ended is tried anew")


def test_a_retry_that_was_heard_is_not_carried_out_again(store, agent_run):
    agent_run()
    request = ask(store, "retry")
    lifecycle.handle_command(store, request, AT, "queued")
    with pytest.raises(Refused):
        worker.retry(store, "opt_run", request)
    assert reads.run(store, "opt_run")["status"] == "completed"
