"""One module per page: a function from a visit to a template and what it shows."""
