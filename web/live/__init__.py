"""Live updates: WebSockets and server-sent events, from what is in the database.

On when COMPOSE_PROFILES has `live`. An application says what it streams in its own `live.py`.
"""
