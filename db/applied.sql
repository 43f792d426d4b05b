-- The migrations that Django has recorded as applied, as app.name. Django 1.7 and newer.
SELECT app || '.' || name FROM django_migrations;
