"""What is remembered in the database itself: runs, sources, the expected schema."""
