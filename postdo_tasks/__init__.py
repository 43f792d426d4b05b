"""Workers for whatever Django project stands in web/: `python -m postdo_tasks worker|beat|flower`.

The project has a Celery app of its own (CELERY_APP); this package runs it so that no task is lost:
`app` has the settings, `watch` finds a worker that hears nothing any more, `consumer` keeps tasks
whose name is not known here, and `health` is the containers' health check. `database` runs the
workers of django-tasks-db, without Celery. Why it is as it is: docs/decisions/tasks.md.
"""
