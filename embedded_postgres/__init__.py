"""A PostgreSQL server without Docker, for a developer's laptop and for the tests.

    from embedded_postgres import Application, Cluster, temporary_cluster

See `python -m embedded_postgres --help` for the same from a shell.
"""

from .application import Application
from .cluster import Cluster, Status
from .errors import EmbeddedPostgresError, Misconfigured
from .temporary import temporary_cluster

__all__ = [
    "Application",
    "Cluster",
    "EmbeddedPostgresError",
    "Misconfigured",
    "Status",
    "temporary_cluster",
]
