"""Prepare a PostgreSQL database for a Django project: wait, check, migrate, superuser.

Runs as ``python -m postdo COMMAND`` beside any Django project (4.2 and newer, psycopg2 or
psycopg 3) and asks for nothing in ``INSTALLED_APPS``.
"""

__version__ = "0.1.0"
