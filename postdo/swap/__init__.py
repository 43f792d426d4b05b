"""A migrated copy takes the place of the database."""
