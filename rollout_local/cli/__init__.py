"""One file per noun. A command parses, calls one function, prints; nothing heavy is imported before it is used."""
