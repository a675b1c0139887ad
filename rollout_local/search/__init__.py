"""Proposes candidates. Knows no database: what it may do reaches it as `Signals`."""
