"""One SQLite file: schema, journal, reads. Nothing else in the package opens a database for writing."""
