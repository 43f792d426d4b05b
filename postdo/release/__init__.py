"""The way of production: plan, approve, apply, record."""
