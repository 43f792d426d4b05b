"""Migrations run in a process of their own, on a copy, and are watched."""
