"""The schema of a database as a value: read, compared, and what would remove a difference."""
