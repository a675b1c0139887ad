"""How providers behave, and what a run does about it: failures, waits, concurrency, cost.

`failures` reads the wire and exceptions (what went wrong, is asking again of use), `refusals` the words of each
server, `concurrency` adapts the number of trials at once, `cost` reserves and settles money and time.

Promise: a failure of a provider is never a score, and a limit of cost is not passed. Tests: tests/unit/providers,
unit/runs/test_dialects, faults/test_weather.
"""
