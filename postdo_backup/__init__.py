"""A backup as a set: a folder with all that a site is made of, and a manifest that proves it.

``create`` writes a set, ``check`` reads it again, ``digests`` says what the tables contain. Needs a
driver for PostgreSQL (psycopg or psycopg2) and no Django. See docs/decisions/backups.md.
"""
