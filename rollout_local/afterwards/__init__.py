"""What is done with a run that was made: run it from Python, reproduce, rescore, rebuild, audit, use its best.

`api` is `rollout.run`, `result` what it and `rollout.load` return (`records`: its lists, `result_html`: how a notebook
shows it); `reproduce` replays a run and compares digests, `rescore` grades its outputs again, `rebuild` makes its rows
from a log_dir, `judge` makes a run that compares one of its candidates on the holdout, `audit` is `db check`, `best`
gives the best outputs and programs.

Promise: nothing here changes a result that is stored. Tests: tests/unit/afterwards, journeys, faults/test_log_dir.
"""
