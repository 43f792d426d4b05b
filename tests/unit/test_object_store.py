"""Uploads in an object store (COMPOSE_PROFILES=s3), with a real server of S3's protocol."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from projects import REPOSITORY
from stack.waiting import eventually

WEB = REPOSITORY / "web"
SCRIPT = """
import json
import django
django.setup()
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage, storages
first = default_storage.save("album/cat 1.jpg", ContentFile(b"cat"))
second = default_storage.save("album/cat 1.jpg", ContentFile(b"other cat"))
private = storages["private"].save("1.pdf", ContentFile(b"for Ada"))
print(json.dumps({
    "names": [first, second],
    "read": default_storage.open(first).read().decode(),
    "url": default_storage.url(first),
    "private": storages["private"].url(private),
    "policy": settings.CONTENT_SECURITY_POLICY,
}))
default_storage.delete(second)
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a server with the bucket `shop`, and the folder in which that is."""
    (tmp_path / "shop").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    rclone = Path(sys.executable).with_name("rclone")
    serve = [str(rclone), "--config", "", "serve", "s3", str(tmp_path)]
    server = subprocess.Popen(
        [*serve, "--addr", f"127.0.0.1:{port}", "--auth-key", "key,secret"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: answers(port), "the server")
        yield f"http://127.0.0.1:{port}", tmp_path / "shop"
    finally:
        server.terminate()
        server.wait()


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def get(url: str) -> str:
    with urllib.request.urlopen(url) as answer:  # noqa: S310  of the test's own server
        return str(answer.read().decode())


def test_uploads_are_kept_in_the_bucket_and_their_addresses_are_signed(
    store: tuple[str, Path],
) -> None:
    endpoint, bucket = store
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=WEB,
        env={
            "PATH": os.environ["PATH"],
            "DJANGO_SETTINGS_MODULE": "config.settings.prod",
            "SECRET_KEY": "x" * 50,
            "DATABASE_URL": "postgres://nobody:nothing@127.0.0.1:1/none",
            "COMPOSE_PROFILES": "s3",
            "S3_ENDPOINT": endpoint,
            "S3_REGION": "eu-central-1",
            "S3_BUCKET": "shop",
            "S3_ACCESS_KEY": "key",
            "S3_SECRET_KEY": "secret",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)

    assert found["names"][0] != found["names"][1]
    assert found["read"] == "cat"
    assert [path.name for path in (bucket / "media/album").iterdir()] == ["cat 1.jpg"]
    assert (bucket / "private/1.pdf").read_text() == "for Ada"
    assert get(found["url"]) == "cat"
    assert get(found["private"]) == "for Ada"
    with pytest.raises(urllib.error.HTTPError):
        get(found["private"].partition("?")[0])
    assert f"img-src 'self' {endpoint} data:" in found["policy"]
    assert f"media-src 'self' {endpoint};" in found["policy"]
