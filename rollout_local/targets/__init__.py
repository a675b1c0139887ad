"""How to call what is being optimized: decorated functions, endpoints, programs, capability agents."""
