"""A login for the build reaches pip, as docs/additions.md has it, and stays out of the image."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import re
import secrets
import shlex
import subprocess
import tarfile
import threading
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import IO

import pytest

from .clone import Clone
from .engine import docker
from .test_additions import OVERRIDE

WHEEL = "ours_alone-1.0-py3-none-any.whl"
METADATA = "Metadata-Version: 2.1\nName: ours-alone\nVersion: 1.0\n"
CHUNK = 1 << 20


def wheel() -> bytes:
    """Return a package with one module, as small as a wheel can be, the same bytes at each call.

    A ZipInfo without a date is of 1980. A name alone would be stored with the time, and pip
    compares the digest.
    """
    file = io.BytesIO()
    members = {
        "ours_alone.py": "WHERE = 'from our own index'\n",
        "ours_alone-1.0.dist-info/METADATA": METADATA,
        "ours_alone-1.0.dist-info/WHEEL": (
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        ),
        "ours_alone-1.0.dist-info/RECORD": "",
    }
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return file.getvalue()


@contextmanager
def private_index(address: str, login: str) -> Iterator[str]:
    """A package index with that one package, for whoever logs in; its address."""
    right = f"Basic {base64.b64encode(login.encode()).decode()}"
    pages = {
        "/simple/ours-alone/": f'<a href="/{WHEEL}">{WHEEL}</a>'.encode(),
        f"/{WHEEL}": wheel(),
    }

    class Index(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.headers.get("Authorization") == right
            page = pages.get(self.path, b"")
            self.send_response(401 if not known else 200 if page else 404)
            if not known:
                self.send_header("WWW-Authenticate", 'Basic realm="ours"')
            self.send_header("Content-Type", "text/html" if page[:1] == b"<" else "application/zip")
            self.end_headers()
            self.wfile.write(page if known else b"")

        def log_message(self, *_: object) -> None:
            """Nothing: what was asked is not what the test is about."""

    with ThreadingHTTPServer((address, 0), Index) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://{address}:{server.server_address[1]}/simple/"
        finally:
            server.shutdown()


def example_of_secrets(clone: Clone) -> str:
    """The override file of docs/additions.md that gives the build its secrets."""
    page = (clone.root / "docs/additions.md").read_text()
    (found,) = re.findall(r"```yaml\n(services:\n  web:\n    build:\n.*?)```", page, re.DOTALL)
    return str(found)


def holds(image: str, words: list[bytes]) -> list[bytes]:
    """Which of these are in a layer of an image, or in what it says of its build."""
    overlap = max(map(len, words))
    found: set[bytes] = set()
    with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as saved:
        assert saved.stdout is not None
        with tarfile.open(fileobj=saved.stdout, mode="r|") as archive:
            for member in archive:
                content = archive.extractfile(member)
                before = b""
                for chunk in _unpacked(content) if content else ():
                    found |= {word for word in words if word in before + chunk}
                    before = chunk[-overlap:]
    assert saved.returncode == 0
    return sorted(found)


def _unpacked(content: IO[bytes]) -> Iterator[bytes]:
    """A layer as its bytes; some engines compress them."""
    first = content.read(CHUNK)
    if first[:2] != b"\x1f\x8b":
        yield first
        while chunk := content.read(CHUNK):
            yield chunk
        return
    with gzip.open(io.BytesIO(first + content.read())) as layer:
        while chunk := layer.read(CHUNK):
            yield chunk


def test_a_login_for_the_build_reaches_pip_and_is_in_no_layer(fresh: Clone) -> None:
    token = secrets.token_hex(16)
    login = f"builder:{token}"
    gateway = docker(
        "network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}"
    ).strip()
    digest = hashlib.sha256(wheel()).hexdigest()
    fresh.write("web/requirements/prod.txt", f"ours-alone==1.0 --hash=sha256:{digest}\n", add=True)
    fresh.write(".netrc", f"machine {gateway} login builder password {token}\n")
    fresh.write(OVERRIDE, example_of_secrets(fresh))
    assert fresh.git("status", "--porcelain") == "M web/requirements/prod.txt"
    with private_index(gateway, login) as index:
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{index}ours-alone/")  # noqa: S310 - our own server
        fresh.write("pip.conf", f"[global]\nextra-index-url = {index}\ntrusted-host = {gateway}\n")

        fresh.compose("prod", "--file", str(fresh.root / OVERRIDE), "build", "web")

    image = f"{fresh.name}-web:next"
    ask = shlex.split("run --rm --network none --entrypoint python")
    said = docker(*ask, image, "-c", "import ours_alone; print(ours_alone.WHERE)")
    assert said.strip() == "from our own index"
    encoded = base64.b64encode(login.encode())
    control = b"from our own index"
    secret = [token.encode(), encoded, index.encode(), WHEEL.encode()]
    assert holds(image, [*secret, control]) == [control], "and that would be found"
