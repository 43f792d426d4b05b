"""Migrations are applied: in one transaction, concurrently, or as Django does it."""
