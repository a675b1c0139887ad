"""What things are: frozen values and pure functions; no I/O, no clock, no randomness, no threads."""
