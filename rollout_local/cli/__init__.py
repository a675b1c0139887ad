"""One file per noun. A command parses, calls one function, prints; nothing heavy is imported before it is used.

`main` is the boundary that turns errors into sentences and exit codes; `options` and `flags` are shared. The commands
of `optimize` are in a folder of their own. Tests: tests/unit/cli, journeys.
"""
