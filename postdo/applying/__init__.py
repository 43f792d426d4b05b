"""Migrations are applied: in one transaction, by a swap, or as Django does it."""
