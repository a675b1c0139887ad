"""How to call what is being optimized: decorated functions, endpoints, programs, capability agents.

`registry` (`@optimize`), `function`, `http`, `program`, `capability` are the kinds; `source` hashes what decides a
target's behaviour, `hosted` completes the hosted SDK's module. The protocol is `domain.target.Target`. Tests:
tests/unit/targets.
"""
