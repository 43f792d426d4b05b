"""Prepare a PostgreSQL database for a Django project: wait, check, migrate, superuser.

Runs as ``python -m postdo COMMAND`` beside any Django project (4.2 and newer, psycopg2 or
psycopg 3) and asks for nothing in ``INSTALLED_APPS``.

The packages in it, each of which uses only those before it: ``schema``, ``running``, ``copying``,
``memory``, ``rehearsing``, ``comparing``, ``planning``, ``report``, ``applying``.
"""

__version__ = "0.1.0"
