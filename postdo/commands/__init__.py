"""The commands of postdo, one module each."""
