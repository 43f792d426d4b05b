"""Which migrations a version has and the database has not: `python -`, in its container.

`run.sh` feeds this to the Python of an image whose release did not record its migrations, which may
be of an older kit. Prints pending=APP.NAME for each; exit code 0 whether there are any or not.
"""

import django
from django.db import connection
from django.db.migrations.executor import MigrationExecutor


def main() -> None:
    """Print what Django's `migrate` would apply."""
    django.setup()
    executor = MigrationExecutor(connection)
    for migration, _ in executor.migration_plan(executor.loader.graph.leaf_nodes()):
        print(f"pending={migration.app_label}.{migration.name}")


main()
