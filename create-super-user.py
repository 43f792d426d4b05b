#!/usr/bin/env python3
"""Create the superuser that DJANGO_SUPERUSER_* describes; safe to run again and again.

The start does this too. By hand, from the folder of the project:

    python create-super-user.py [--settings M] [--json]

Exit codes as ``python -m postdo superuser``, which this is.
"""

import sys

from postdo.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["superuser", *sys.argv[1:]]))
