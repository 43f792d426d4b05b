"""A copy of the database: the backup that it is restored from, and where it is put."""
