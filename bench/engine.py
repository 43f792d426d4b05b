"""What is asked of the Docker engine, beside Compose."""

from __future__ import annotations

import json
import re

from bench.process import BenchError, run

MIB = 1024 * 1024
UNITS = {"B": 1 / MIB, "KiB": 1 / 1024, "MiB": 1.0, "GiB": 1024.0}


def listed(*arguments: str) -> list[str]:
    """Return the words that `docker ARGUMENTS...` prints, one on a line."""
    return run(["docker", *arguments]).split()


def container(project: str, service: str) -> str:
    """Return the id of the one container of a service, running or not."""
    found = listed(
        "ps",
        "--all",
        "--quiet",
        "--no-trunc",
        "--filter",
        f"label=com.docker.compose.project={project}",
        "--filter",
        f"label=com.docker.compose.service={service}",
        "--filter",
        "label=com.docker.compose.oneoff=False",
    )
    if len(found) != 1:
        raise BenchError(
            f"{project} has {len(found)} containers of {service}, not one",
            "look whether another program removes containers here, and repeat",
        )
    return found[0]


def memory(container_id: str) -> float:
    """Return the memory of a running container in MiB, as `docker stats` counts it."""
    text = run(["docker", "stats", "--no-stream", "--format", "{{.MemUsage}}", container_id])
    found = re.match(r"\s*([0-9.]+)([KMG]?i?B)", text)
    if not found or found[2] not in UNITS:
        raise BenchError(
            f"docker stats shows no memory: {text.strip()!r}",
            "the engine needs the memory cgroup: see docker info, warnings",
        )
    return float(found[1]) * UNITS[found[2]]


def image_id(reference: str) -> str:
    """Return the id of an image; empty if there is none of that name."""
    return next(iter(listed("image", "ls", "--quiet", "--no-trunc", reference)), "")


def image_size(reference: str) -> float:
    """Return the size of an image in MiB, unpacked, all its layers counted."""
    return int(run(["docker", "image", "inspect", "--format", "{{.Size}}", reference])) / MIB


def remove_project(project: str) -> None:
    """Remove every container, volume and network of a Compose project, in whatever state."""
    label = ("--filter", f"label=com.docker.compose.project={project}")
    containers = listed("ps", "--all", "--quiet", *label)
    if containers:
        run(["docker", "rm", "--force", "--volumes", *containers])
    for kind in ("volume", "network"):
        found = listed(kind, "ls", "--quiet", *label)
        if found:
            run(["docker", kind, "rm", *found])


def remove_image(reference: str) -> None:
    """Remove an image by name; by its id only if it has no name left.

    One that still has a name is somebody else's too.
    """
    if reference.startswith("sha256:"):
        if reference not in listed("image", "ls", "--all", "--quiet", "--no-trunc"):
            return
        described = run(["docker", "image", "inspect", "--format", "{{json .RepoTags}}", reference])
        if json.loads(described):
            return
    elif not image_id(reference):
        return
    run(["docker", "image", "rm", reference])
