#!/usr/bin/env python
"""Django's command line for this project."""

import os
import sys

DEVELOPMENT = "config.settings.dev"
TEST = "config.settings.test"


def main() -> None:
    """Run the management command in ``sys.argv``, on the development settings unless told.

    Tests have settings of their own, also where the environment names those of development: with
    these, each login takes a third of a second, and every provoked error fills the screen.
    """
    module = os.environ.setdefault("DJANGO_SETTINGS_MODULE", DEVELOPMENT)
    if sys.argv[1:2] == ["test"] and module == DEVELOPMENT:
        os.environ["DJANGO_SETTINGS_MODULE"] = TEST

    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        # A wrong environment is the operator's to mend: one line helps, a traceback does not.
        sys.exit(f"manage.py: {error}")


if __name__ == "__main__":
    main()
