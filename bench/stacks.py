"""The two stacks: how each is started, changed and removed. Nothing is measured here."""

from __future__ import annotations

import os
import socket
from abc import ABC, abstractmethod
from contextlib import ExitStack
from pathlib import Path

from bench import engine, project
from bench.process import run, undisturbed

DIRECT = """\
# For the bench: Gunicorn without the proxy, as the tutorial has it.
services:
  web-blue:
    ports: ["127.0.0.1:{blue}:8000"]
  web-green:
    ports: ["127.0.0.1:{green}:8000"]
"""


class Stack(ABC):
    """A stack in its own scratch folder, under its own Compose project.

    title: what it is called in progress and report. column: its column there.
    web: the name of the service that runs Gunicorn.
    urls: where it is asked, by column of the report; the first is how a visitor reaches it.
    """

    title: str
    column: str
    web: str
    urls: dict[str, str]

    def __init__(self, name: str, folder: Path) -> None:
        """`name` is the Compose project; `folder` holds the files of the stack."""
        self.name = name
        self.folder = folder
        self.environment = own_environment()
        self.images: list[str] = []

    @property
    @abstractmethod
    def source(self) -> Path:
        """The folder of the Django project."""

    @property
    @abstractmethod
    def tags(self) -> list[str]:
        """The names of the images that this stack builds."""

    @property
    @abstractmethod
    def services(self) -> list[str]:
        """The services that run when the site is served."""

    @property
    @abstractmethod
    def preparation(self) -> list[list[str]]:
        """The commands, one after the other, that come before Gunicorn in the container."""

    @abstractmethod
    def compose(self, *arguments: str) -> str:
        """Run Compose on this stack's files; returns its output."""

    @abstractmethod
    def start(self) -> None:
        """Build and start it, or bring what was changed into service: what a user would type."""

    def build(self) -> None:
        """Build the image, and nothing else."""
        self.remember_images()
        self.compose("build", "web")

    def deploy(self) -> None:
        """`start`, with a note of the image that it replaces."""
        self.remember_images()
        self.start()

    def new_container(self) -> str:
        """Replace Gunicorn's container by a new one that is not started yet; returns its id."""
        run(["docker", "rm", "--force", "--volumes", engine.container(self.name, self.web)])
        self.compose("up", "--no-start", "--no-deps", "--no-build", self.web)
        return engine.container(self.name, self.web)

    def last_lines(self) -> str:
        """Return what the site said last, for a failure's message."""
        return self.compose("logs", "--no-color", "--no-log-prefix", "--tail", "15", self.web)

    def remember_images(self) -> None:
        """Note the ids behind the tags: a build takes the tag away from what was built before."""
        self.images += [found for found in map(engine.image_id, self.tags) if found]

    def remove(self) -> None:
        """Remove containers, volumes, networks and images; the folder is its maker's to remove."""
        with (
            undisturbed(),
            ExitStack() as steps,
        ):  # each step is taken, also when one before it failed
            self.remember_images()
            for image in reversed([*self.tags, *dict.fromkeys(self.images)]):
                steps.callback(engine.remove_image, image)
            steps.callback(engine.remove_project, self.name)


class Tutorial(Stack):
    """bench/tutorial/ with the measured project."""

    title = "tutorial"
    column = "tutorial"
    web = "web"

    def __init__(self, name: str, folder: Path, migrations: int) -> None:
        """Make the folder; nothing is started."""
        super().__init__(name, folder)
        port = free_ports(1)[0]
        self.environment["BENCH_PORT"] = str(port)
        self.urls = {"tutorial": f"http://127.0.0.1:{port}"}
        project.make_tutorial(folder, migrations)

    @property
    def source(self) -> Path:
        """The folder of the Django project."""
        return self.folder

    @property
    def tags(self) -> list[str]:
        """The name that Compose gives."""
        return [f"{self.name}-web:latest"]

    @property
    def services(self) -> list[str]:
        """No proxy."""
        return ["web", "db"]

    @property
    def preparation(self) -> list[list[str]]:
        """The four calls of its docker-compose.yml."""
        manage = ["python", "manage.py"]
        return [
            [*manage, "wait_for_db"],
            [*manage, "makemigrations", "--noinput"],
            [*manage, "migrate", "--noinput"],
            [*manage, "collectstatic", "--noinput"],
        ]

    def compose(self, *arguments: str) -> str:
        """Run Compose on the tutorial's one file."""
        argv = ["docker", "compose", "--progress", "plain", "--project-name", self.name, *arguments]
        return run(argv, folder=self.folder, environment=self.environment)

    def start(self) -> None:
        """As the tutorial's reader does it."""
        self.compose("up", "--detach", "--build")


class Kit(Stack):
    """This kit, in a scratch clone, by `sh run.sh -0`."""

    title = "this kit"
    column = "kit"
    web = "web-blue"

    def __init__(self, name: str, folder: Path, migrations: int, *, direct: bool = True) -> None:
        """Make the clone; nothing is started. `direct`: Gunicorn is reached past the proxy too."""
        super().__init__(f"{name}-prod", folder)
        http, blue, green, *others = free_ports(8)
        keys = ("HTTPS_PORT", "DEV_PORT", "LOCAL_PORT", "PGADMIN_PORT", "DEV_DB_PORT")
        self.environment |= {
            "PROJECT_NAME": name,
            "PROD_SETTINGS": "bench_settings",
            "POSTDO_RUN": "yes",
            "WATCH_SECONDS": "0",  # what is timed is the release
            "HTTP_PORT": str(http),
            **dict(zip(keys, map(str, others), strict=True)),
        }
        self.urls = {"kit": f"http://127.0.0.1:{http}", "direct": f"http://127.0.0.1:{blue}"}
        self.prefix = name
        project.clone_kit(folder, migrations)
        if direct:
            override = folder / "docker-compose.override.yml"
            override.write_text(DIRECT.format(blue=blue, green=green), encoding="utf-8")

    @property
    def source(self) -> Path:
        """The folder of the Django project."""
        return self.folder / "web"

    @property
    def tags(self) -> list[str]:
        """What was built last, the two colours, the releases that are kept, and the proxy's."""
        named = [f"{self.prefix}-web:{tag}" for tag in ("next", "blue", "green")]
        ours = ("--filter", f"reference={self.prefix}-*")
        wanted = ("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", *ours)
        return list(dict.fromkeys([*named, *engine.listed(*wanted)]))

    @property
    def services(self) -> list[str]:
        """The other colour does not run."""
        return [self.web, "db", "proxy"]

    @property
    def preparation(self) -> list[list[str]]:
        """What entrypoint.sh runs."""
        return [["python", "-m", "postdo", "prepare"]]

    def compose(self, *arguments: str) -> str:
        """Run Compose as lib/compose.sh does for production."""
        files = ("docker-compose.yml", "docker-compose.prod.yml", "docker-compose.override.yml")
        there = [file for file in files if (self.folder / file).exists()]
        named = [word for file in there for word in ("--file", file)]
        argv = [
            "docker",
            "compose",
            "--progress",
            "plain",
            "--env-file",
            ".env",
            "--project-name",
            self.name,
        ]
        return run([*argv, *named, *arguments], folder=self.folder, environment=self.environment)

    def start(self) -> None:
        """The one command."""
        run(["sh", "run.sh", "-0"], folder=self.folder, environment=self.environment)
        live = self.folder / ".postdo" / "live" / self.environment["PROJECT_NAME"] / "upstream"
        self.web = live.read_text(encoding="utf-8").strip()


def own_environment() -> dict[str, str]:
    """Return this process's environment without what would configure the kit."""
    example = (project.CLONE / ".env.example").read_text(encoding="utf-8")
    keys = {line.lstrip("# ").partition("=")[0] for line in example.splitlines() if "=" in line}
    return {name: value for name, value in os.environ.items() if name not in keys}


def free_ports(count: int) -> list[int]:
    """Return that many different TCP ports on which nobody listens just now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
