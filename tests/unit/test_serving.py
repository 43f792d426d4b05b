"""postdo_serving/: whole requests for any project, no files left behind. Real Gunicorn, Django."""

from __future__ import annotations

import http.client
import json
import os
import select
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorns import Server, serving
from waiting import until

from postdo_serving import bodies
from postdo_serving.worker import UPLOADS_AT_ONCE, is_whole

MEGABYTE = 10**6
BOUNDARY = "xxBOUNDARYxx"

# A project that knows nothing of the kit: one file, no database.
SITE = '''
import gc, os, pathlib, time
import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse, JsonResponse
from django.http.multipartparser import MultiPartParser
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["*"],
    DEBUG=False,
    ROOT_URLCONF="app",
    SECRET_KEY="x" * 50,
    DATA_UPLOAD_MAX_MEMORY_SIZE=None,
    LOGGING_CONFIG=None,
)
gc.disable()  # what only the collector would close stays open, however short the test is


def body(request):
    return JsonResponse({
        "body": request.body.decode(),
        "length": request.META["CONTENT_LENGTH"],
        "encoding": request.META.get("HTTP_TRANSFER_ENCODING"),
    })


def upload(request):
    if request.method == "PUT":
        fields, files = MultiPartParser(request.META, request, request.upload_handlers).parse()
    else:
        files = request.FILES
    return JsonResponse({name: file.size for name, file in files.items()})


def hold(request):
    file = request.FILES["one"]
    pathlib.Path("held").write_text(f"{os.getpid()} {file.temporary_file_path()}")
    time.sleep(60)


urlpatterns = [
    path("first", lambda request: HttpResponse("ok")),
    path("body", body),
    path("form", lambda request: JsonResponse(request.POST.dict())),
    path("upload", upload),
    path("hold", hold),
    path("files", lambda request: JsonResponse(found())),
]


def found():
    temporary = settings.FILE_UPLOAD_TEMP_DIR
    return {"open": open_files(), "pid": os.getpid(), "temporary": temporary}


def open_files():
    """The files of this process that are on disk and not part of the system."""
    links = []
    for number in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            pass
    return [link for link in links if link.startswith(os.environ["POSTDO_UPLOADS"])]


django.setup()
application = WSGIHandler()
'''


@pytest.fixture(scope="module")
def uploads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the shared site keeps bodies and uploads."""
    return tmp_path_factory.mktemp("uploads")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, uploads: Path) -> Iterator[Server]:
    """The project, for the tests that end no process of it."""
    with project(tmp_path_factory.mktemp("site"), uploads) as server:
        yield server


@contextmanager
def project(folder: Path, uploads: Path, text: str = SITE) -> Iterator[Server]:
    """The project on one process of two threads."""
    (folder / "app.py").write_text(text)
    with serving(
        folder,
        WEB_CONCURRENCY="1",
        POSTDO_UPLOADS=str(uploads),
        MAX_REQUEST_BODY="20MB",
        WEB_TIMEOUT="2",
    ) as server:
        yield server


def part(name: str, content: bytes, *more: str) -> bytes:
    """One file of a form."""
    lines = [f"--{BOUNDARY}", f'Content-Disposition: form-data; name="{name}"; filename="{name}"']
    return "\r\n".join([*lines, *more, "", ""]).encode() + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    """A whole form of such parts."""
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def send(site: Server, path: str, body: Any, method: str = "POST", **headers: str) -> Any:
    """Send a body, in chunks if it is an iterator; returns status and what came back."""
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=20)
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    connection.request(method, path, body, {"Content-Type": kind, **headers})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != http.client.OK:
        return answer.status, answer.headers
    return answer.status, json.loads(text)


def left_over(site: Server, uploads: Path) -> list[str]:
    """The uploads that are there or open, with nothing going on."""
    status, found = send(site, "/files", None, "GET")
    assert status == 200
    return [*found["open"], *(str(file) for file in uploads.rglob("*") if file.is_file())]


def assert_nothing_is_left(site: Server, uploads: Path) -> None:
    """The last answer came a moment before its request has ended."""
    until(lambda: left_over(site, uploads) == [], "the files to be closed", 10)


# ---- Bodies in chunks ----


@pytest.mark.parametrize("chunks", [[b"number=5"], [b"num", b"ber", b"=5"]])
def test_a_body_in_chunks_arrives(site: Server, chunks: list[bytes]) -> None:
    status, found = send(site, "/body", iter(chunks), **{"Content-Type": "text/plain"})

    assert (status, found) == (200, {"body": "number=5", "length": "8", "encoding": None})


def test_a_form_in_chunks_arrives(site: Server) -> None:
    kind = {"Content-Type": "application/x-www-form-urlencoded"}

    assert send(site, "/form", iter([b"a=1&", b"b=2"]), **kind) == (200, {"a": "1", "b": "2"})


def test_an_upload_in_chunks_arrives_and_leaves_nothing(site: Server, uploads: Path) -> None:
    pieces = iter([form(part("one", b"x" * 5 * MEGABYTE))])

    assert send(site, "/upload", pieces) == (200, {"one": 5 * MEGABYTE})
    assert_nothing_is_left(site, uploads)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_a_body_in_chunks_arrives_by_every_method(site: Server, method: str) -> None:
    status, found = send(site, "/body", iter([b"abc"]), method)

    assert (status, found["body"]) == (200, "abc")


def test_the_connection_is_kept_after_chunks(site: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=20)
    for text in ("one", "two", "three"):
        connection.request("POST", "/body", iter([text.encode()]))
        assert json.loads(connection.getresponse().read())["body"] == text


@pytest.mark.parametrize("in_chunks", [True, False])
def test_a_body_over_the_limit_is_413(site: Server, uploads: Path, in_chunks: bool) -> None:
    pieces = [b"x" * MEGABYTE] * 21
    body = iter(pieces) if in_chunks else b"".join(pieces)

    assert send(site, "/body", body)[0] == 413
    assert_nothing_is_left(site, uploads)


@pytest.mark.parametrize("chunk", [b"zz\r\nabc\r\n0\r\n\r\n", b"3\r\nabcd\r\n0\r\n\r\n", b"\r\n"])
def test_a_chunk_that_is_none_is_the_clients_fault(site: Server, chunk: bytes) -> None:
    head = b"POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"

    assert site.send(head + chunk).startswith(b"HTTP/1.1 400 ")


def test_who_asks_before_sending_is_told_to_go_on(site: Server) -> None:
    head = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    with socket.create_connection(("127.0.0.1", site.port), 20) as client:
        client.sendall(head)
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"abc")
        assert client.recv(100).startswith(b"HTTP/1.1 200 ")


# ---- Slow clients ----


def test_uploads_that_never_end_do_not_keep_anybody_waiting(site: Server) -> None:
    """As many as there are threads of the application, and more."""
    head = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc"
    with ExitStack() as stack:
        for _ in range(12):
            client = socket.create_connection(("127.0.0.1", site.port), 20)
            stack.enter_context(client).sendall(head)

        assert site.get("/first") == (200, b"ok")


def test_a_client_that_stops_sending_is_given_up(site: Server) -> None:
    head = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc"
    with socket.create_connection(("127.0.0.1", site.port), 20) as client:
        client.sendall(head)
        assert client.recv(100).startswith(b"HTTP/1.1 408 ")


def test_a_body_that_breaks_off_never_reaches_the_site(site: Server, uploads: Path) -> None:
    head = b"POST /hold HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n"

    assert site.send(head + b"x" * MEGABYTE) == b""
    assert_nothing_is_left(site, uploads)


def test_more_bodies_than_there_is_room_for_are_told_to_come_again(
    site: Server, uploads: Path
) -> None:
    """20 of the largest size."""
    head = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n\r\nabc"
    with ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", site.port), 20))
            for _ in range(25)
        ]
        for client in clients:
            client.sendall(head)
        answers = [client.recv(300) for client in clients]

    refused = [answer for answer in answers if answer.startswith(b"HTTP/1.1 503 ")]
    assert len(refused) == 5, answers
    assert all(b"\r\nRetry-After: 5\r\n" in answer for answer in refused)
    assert_nothing_is_left(site, uploads)
    assert send(site, "/upload", form(part("one", b"x" * 5 * MEGABYTE)))[0] == 200


def test_a_stop_waits_for_an_upload_although_another_was_refused(
    tmp_path: Path, uploads: Path
) -> None:
    """Gunicorn counts its connections, and a refused one counts once."""
    refused = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 21000000\r\n\r\n"
    head = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    with project(tmp_path, uploads) as site:
        for _ in range(3):
            assert site.send(refused).startswith(b"HTTP/1.1 413 ")
        with socket.create_connection(("127.0.0.1", site.port), 20) as client:
            client.sendall(head)
            assert client.recv(100).startswith(b"HTTP/1.1 100 ")
            site.process.send_signal(signal.SIGTERM)
            until(lambda: "signal: term" in site.log.read_text(), "the stop to begin")
            select.select([client], [], [], 0.5)  # readable at once where nobody waits for it

            client.sendall(b"abc")
            assert client.recv(100).startswith(b"HTTP/1.1 200 ")
        assert site.process.wait(20) == 0


def test_a_small_form_is_taken_whatever_number_of_uploads_is_on_its_way(site: Server) -> None:
    head = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\nExpect: 100-continue"
    with ExitStack() as stack:
        for _ in range(UPLOADS_AT_ONCE):
            client = socket.create_connection(("127.0.0.1", site.port), 20)
            stack.enter_context(client).sendall(head + b"\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 100 ")

        assert send(site, "/body", b"x" * 65537)[0] == 503
        assert send(site, "/body", b"x" * 65536)[0] == 200


def test_bodies_together_leave_half_of_the_disk_to_others(tmp_path: Path) -> None:
    disk = os.statvfs(tmp_path)
    free = disk.f_bavail * disk.f_frsize
    room = bodies.Room(
        bodies.Limits(largest=free, together=free, processes=2, silence=1, folder=str(tmp_path))
    )
    room.take(free // 6)
    with pytest.raises(bodies.RefusedError):
        room.take(free // 6)  # half of the free disk is for two processes
    room.give_back(free // 6)
    room.take(free // 6)


# ---- Files of uploads ----


def test_an_upload_that_breaks_off_in_the_middle_leaves_nothing(
    site: Server, uploads: Path
) -> None:
    """Django keeps the unfinished file in a cycle of the request and its handlers."""
    encoded = "Content-Transfer-Encoding: base64"
    broken = form(
        part("one", b"x" * 4 * MEGABYTE), part("two", b"QUJD" * MEGABYTE + b"!QUJDA", encoded)
    )

    assert send(site, "/upload", broken)[0] == 400
    assert_nothing_is_left(site, uploads)


def test_an_upload_that_a_view_parses_itself_leaves_nothing(site: Server, uploads: Path) -> None:
    body = form(part("one", b"x" * 4 * MEGABYTE), part("two", b"y" * 4 * MEGABYTE))

    status, sizes = send(site, "/upload", body, "PUT")

    assert (status, sizes) == (200, {"one": 4 * MEGABYTE, "two": 4 * MEGABYTE})
    assert_nothing_is_left(site, uploads)


def test_a_worker_that_is_killed_leaves_no_upload(tmp_path: Path, uploads: Path) -> None:
    body = form(part("one", b"x" * 4 * MEGABYTE))
    head = (
        f"POST /hold HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    )
    held = tmp_path / "held"
    with project(tmp_path, uploads) as site:
        with socket.create_connection(("127.0.0.1", site.port), 20) as client:
            client.sendall(head.encode() + body)
            until(lambda: held.exists() and held.read_text(), "the view to have the upload")
            pid, file = held.read_text().split()
            assert Path(file).is_relative_to(uploads)

            os.kill(int(pid), signal.SIGKILL)
            assert client.recv(100) == b""

        until(lambda: not Path(file).exists(), "the upload to be removed")
        assert_nothing_is_left(site, uploads)


def test_what_a_killed_server_left_is_removed_by_the_next(tmp_path: Path) -> None:
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    with project(tmp_path, uploads) as site:
        worker = send(site, "/files", None, "GET")[1]["pid"]
        (folder,) = uploads.glob("uploads-of-*")
        (folder / "tmpabc.upload.pdf").write_bytes(b"x" * 1000)
        for pid in (site.process.pid, worker):  # the arbiter first: it makes no new worker
            os.kill(pid, signal.SIGKILL)
        site.process.wait()
        until(lambda: not Path("/proc", str(worker)).exists(), "the worker to end")

    with project(tmp_path, uploads) as second:
        assert_nothing_is_left(second, uploads)


def test_a_folder_that_the_project_chose_is_kept_to(tmp_path: Path) -> None:
    """Both colours may have it, so that nothing in it is known to be left by a dead process."""
    chosen, uploads = tmp_path / "chosen", tmp_path / "uploads"
    chosen.mkdir()
    uploads.mkdir()
    of_the_other_colour = chosen / "uploads-of-999999999" / "tmpabc.upload.pdf"
    of_the_other_colour.parent.mkdir()
    of_the_other_colour.write_bytes(b"x")
    choice = f"settings.configure(FILE_UPLOAD_TEMP_DIR={str(chosen)!r},"
    with project(tmp_path, uploads, SITE.replace("settings.configure(", choice)) as site:
        assert send(site, "/upload", form(part("one", b"x" * 4 * MEGABYTE)))[0] == 200
        assert Path(send(site, "/files", None, "GET")[1]["temporary"]) == chosen
        os.kill(send(site, "/files", None, "GET")[1]["pid"], signal.SIGKILL)
        site.wait()
        assert [file for file in chosen.rglob("*") if file.is_file()] == [of_the_other_colour]
        assert [file for file in uploads.rglob("*") if file.is_file()] == []


@pytest.mark.parametrize(
    ("sent", "whole"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", True),
        (b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", True),
        (b"", False),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", False),
        (b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nContent-length: 4\r\n\r\n\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n", False),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", False),
    ],
)
@pytest.mark.parametrize("read_before", [b"", b"G"])
def test_only_a_request_that_is_here_goes_to_the_application_at_once(
    sent: bytes, whole: bool, read_before: bytes
) -> None:
    server, client = socket.socketpair()
    parser = SimpleNamespace(unreader=SimpleNamespace(buf=SimpleNamespace()))
    parser.unreader.buf.getvalue = lambda: read_before
    with server, client:
        client.sendall(sent)
        assert is_whole(SimpleNamespace(parser=None, sock=server)) == whole
        conn = SimpleNamespace(parser=parser, sock=server)
        assert is_whole(conn) == (whole and not read_before)
        assert server.recv(99, socket.MSG_DONTWAIT) == sent if sent else True


def test_a_client_that_has_left_has_sent_no_request() -> None:
    server, client = socket.socketpair()
    client.close()
    with server:
        assert not is_whole(SimpleNamespace(parser=None, sock=server))
    assert not is_whole(SimpleNamespace(parser=None, sock=server))


def test_requests_on_one_connection_are_answered_however_they_come(site: Server) -> None:
    """At once, two in one piece, and in pieces."""
    one = b"GET /first HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", site.port), 20) as client:
        for sent in ([one], [one + one], [one[:9], one[9:]], [one[:-2], one[-2:] + one]):
            for piece in sent:
                client.sendall(piece)
                # The rest comes after the first piece has been looked at.
                select.select([client], [], [], 0.05)
            asked, received = len(b"".join(sent)) // len(one), b""
            while received.count(b"ok\r\n0\r\n\r\n") < asked:  # Gunicorn sends it in chunks
                received += client.recv(9999)
            assert received.count(b"HTTP/1.1 200 OK") == asked


def test_half_a_request_takes_no_thread_of_the_application(site: Server) -> None:
    with ExitStack() as stack:
        for _ in range(3):  # it has two
            client = socket.create_connection(("127.0.0.1", site.port), 20)
            stack.enter_context(client)
            client.sendall(b"GET /first HTTP/1.1\r\nHost: x\r\n")
        assert site.get("/first") == (200, b"ok")
