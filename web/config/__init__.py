"""The project: its settings, its URLs, its server entry points."""
