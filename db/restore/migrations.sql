-- The migrations that a database has, one a line. Connected to that database.
SELECT app, name FROM django_migrations ORDER BY app, name;
