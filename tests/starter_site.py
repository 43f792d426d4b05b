"""The starter with the part api, as a site that a test starts without Docker."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from projects import Project

WEB = Path(__file__).resolve().parents[1] / "web"
# As runserver, on a port that the system chooses, which it prints.
SERVER = """
import sys
import django
from django.conf import settings
settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
settings.EMAIL_FILE_PATH = sys.argv[1]
django.setup()
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.test.testcases import LiveServerThread
server = LiveServerThread("127.0.0.1", StaticFilesHandler)
server.start()
server.is_ready.wait()
print(server.port, flush=True)
server.join()
"""


def migrated(database: str) -> Project:
    """The starter on that database, which has its tables then."""
    environment = {"DJANGO_SETTINGS_MODULE": "config.settings.test", "COMPOSE_PROFILES": "api"}
    project = Project(WEB, database, environment | {"ALLOWED_HOSTS": "127.0.0.1"})
    ended = project.execute([sys.executable, "manage.py", "migrate"])
    assert ended.code == 0, ended
    return project


@contextmanager
def served(project: Project, mails: Path) -> Iterator[str]:
    """The address of the project, for as long as the block lasts. It puts mail into that folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(mails)],
        cwd=project.root,
        env=project.variables(),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def link_in(mails: Path) -> str:
    """The one link in the one mail."""
    (mail,) = mails.iterdir()
    (link,) = re.findall(r"^http\S+", mail.read_text(), re.MULTILINE)
    return str(link)
