"""The stack tests: every mode from a clean clone, on a real Docker engine."""
