"""What stands between Gunicorn and the Django project: whole requests in, no files left behind."""
