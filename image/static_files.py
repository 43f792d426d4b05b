"""What `collectstatic` would make here, told by a key: the same key, the same files.

Run by collect.sh in the project's folder, at the build of the image. Prints two lines, the key and
the folder (STATIC_ROOT). It prints nothing where it cannot be sure, and then all is collected anew:
a collectstatic or a storage that is neither Django's nor WhiteNoise's, or a folder with files.

The key is a digest of what the result is made of: every file that the finders list, the settings
that count, and the versions of Python and of all packages.
"""

import hashlib
import sys
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

IGNORED = ["CVS", ".*", "*~"]  # as Django's collectstatic by itself
KNOWN_STORAGES = ("django.contrib.staticfiles.storage", "whitenoise.storage")
SETTINGS = ("STATIC", "STORAGES", "WHITENOISE", "FORCE_SCRIPT_NAME", "FILE_UPLOAD", "DEBUG")


def main() -> None:
    """Print the key and the folder, or nothing."""
    sys.path[0] = str(Path.cwd())  # as for manage.py
    import django  # noqa: PLC0415 - what cannot be imported is collectstatic's to explain

    django.setup()
    from django.conf import settings  # noqa: PLC0415

    root = Path(str(settings.STATIC_ROOT))
    if not is_known() or (root.exists() and any(root.iterdir())):
        return
    digest = hashlib.sha256()
    for fact in (*environment(), *chosen_settings(settings), *files()):
        digest.update(fact.encode() + b"\0")
    print(digest.hexdigest())
    print(root)


def is_known() -> bool:
    """Whether command and storage are those of Django or WhiteNoise, which depend on no more."""
    from django.contrib.staticfiles.management.commands import collectstatic  # noqa: PLC0415
    from django.core.files.storage import storages  # noqa: PLC0415
    from django.core.management import get_commands, load_command_class  # noqa: PLC0415

    command = load_command_class(get_commands()["collectstatic"], "collectstatic")
    storage = type(storages["staticfiles"])
    return type(command) is collectstatic.Command and storage.__module__ in KNOWN_STORAGES


def environment() -> Iterator[str]:
    """The versions, and how the project starts Django."""
    yield sys.version
    yield from sorted(f"{one.name}=={one.version}" for one in distributions())
    yield Path("manage.py").read_text(errors="replace")


def chosen_settings(settings: object) -> Iterator[str]:
    """Each setting that the result may depend on, with its value."""
    for name in sorted(dir(settings)):
        if name.startswith(SETTINGS):
            yield f"{name}={getattr(settings, name)!r}"


def files() -> Iterator[str]:
    """Each file that would be collected, with a digest of its content; of two, the first counts."""
    from django.contrib.staticfiles.finders import get_finders  # noqa: PLC0415

    for finder in get_finders():
        for path, storage in finder.list(IGNORED):
            with storage.open(path) as file:
                content = hashlib.sha256(file.read()).hexdigest()
            yield f"{getattr(storage, 'prefix', None) or ''}/{path}={content}"


if __name__ == "__main__":
    main()
