"""Between the proxy and the Django project: Gunicorn's worker, and the server of streams."""
