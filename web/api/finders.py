"""Where the page to try the API has Swagger UI from."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import drf_spectacular_sidecar
from django.contrib.staticfiles.finders import BaseFinder
from django.core.files.storage import FileSystemStorage

FOLDER = Path(drf_spectacular_sidecar.__path__[0], "static/drf_spectacular_sidecar/swagger-ui-dist")
PREFIX = "swagger-ui"
FILES = ("swagger-ui.css", "swagger-ui.css.map", "swagger-ui-bundle.js", "LICENSE")


class SwaggerUiFinder(BaseFinder):
    """The few files that the page needs, out of 30 MB that would take half a minute to compress."""

    def __init__(self, *_: Any, **__: Any) -> None:
        """Look into the package."""
        self.storage = FileSystemStorage(location=FOLDER)
        self.storage.prefix = PREFIX  # type: ignore[attr-defined]

    def find(self, path: str, find_all: bool = False, **_: Any) -> Any:
        """Return where a file is, as a path or as a list."""
        folder, _slash, name = path.partition("/")
        found = [str(FOLDER / name)] if folder == PREFIX and name in FILES else []
        return found if find_all else next(iter(found), [])

    def list(
        self, ignore_patterns: Iterable[str] | None = None
    ) -> Iterator[tuple[str, FileSystemStorage]]:
        """Return the files, for collectstatic."""
        return ((name, self.storage) for name in FILES)
