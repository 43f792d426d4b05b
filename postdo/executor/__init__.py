"""One run of migrations in a session: of a rehearsal, and of the real change."""
