"""Prepare a PostgreSQL database for a Django project: wait, check, migrate, create the superuser.

Run it as ``python -m postdo COMMAND`` beside any Django project (Django 4.2 or newer, psycopg2 or
psycopg 3). It needs no entry in ``INSTALLED_APPS``. CONTRIBUTING.md lists its packages, each of
which imports only those above it.
"""

__version__ = "0.1.0"
