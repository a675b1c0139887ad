"""The runner: baseline, search, best on the holdout, report; the only place that composes all the others.

Reading order: `runner` (one run to its end or to where it waits), `phases` (the work of one attempt), `evaluation`
(one trial: retried, graded, committed), `execution` and `grading` (its two halves), `reflection` (a proposal's model
call). Around it `worker` and `heartbeat` (queued runs, and being alive), `requests` (cancel, pause), `log_dir` (the
checkpoint), `traces`, `progress` and `run_log` (who is told); `divergence` and `process_state` notice what must not
happen. `dry_run` and `rehearsal` check a run without a model.

Promises: paid for once; resume is replay; a failure is not a zero. Tests: tests/unit/runs, faults.
"""
