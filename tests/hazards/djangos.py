"""Other versions of Django and its drivers: which are at hand, and a Python that has them."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

from environments import environment, packages, run

from . import in_image

REQUIREMENTS = Path(__file__).parent / "requirements"
# From the oldest to the newest. What is between them is not tried.
OLDER = ("django-4.2-psycopg2", "django-5.1-psycopg3", "django-5.2-psycopg3")
NEWER = ("django-6.1-psycopg3",)
NEWER_NEEDS = (3, 12)


@functools.cache
def at_hand() -> tuple[str, ...]:
    """What can be run: the newer by a newer Python than this, in the image of production."""
    newer = sys.version_info >= NEWER_NEEDS or in_image.at_hand()
    return OLDER + (NEWER if newer else ())


def python(name: str, programs: Path) -> tuple[str, ...]:
    """The beginning of a command line that runs the Python of this version.

    In a container it sees the folder ``programs`` too.
    """
    requirements = REQUIREMENTS / f"{name}.txt"
    if name in OLDER or sys.version_info >= NEWER_NEEDS:
        return (str(environment(requirements)),)
    return in_image.python(packages(requirements, in_image.VERSION, _compile), programs)


def _compile(folder: Path) -> None:
    """Once, by the Python that will run it."""
    run(*in_image.python(folder), "-m", "compileall", "-q", ".", folder=folder)
