"""Real public projects, from an old release to the newest."""
