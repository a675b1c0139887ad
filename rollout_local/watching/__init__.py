"""What a person sees of a running run, and how they stop it: shared by the command and by Python.

`terminal` is a bar on stderr, or lines, `notebook` one in a cell's output, `default` chooses for `rollout.run`;
`interrupt` turns Ctrl-C into a pause. Nothing here decides anything of a run,
and nothing heavy is imported before it is used. Tests: tests/unit/watching, tests/unit/cli/test_watching.py.
"""
