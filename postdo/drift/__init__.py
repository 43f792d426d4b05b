"""The real schema against the one that the applied migrations make."""
