"""What is looked at before a change: history, models, server, pooler, packages."""
