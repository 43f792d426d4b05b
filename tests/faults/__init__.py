"""Faults under load, on the real engine."""
