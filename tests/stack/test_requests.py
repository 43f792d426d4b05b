"""What a request gets when something is wrong with it, with its client, or with the site."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import quote

import pytest

from .clone import Clone
from .engine import Container
from .visitor import Visitor
from .waiting import eventually

MEGABYTE = 10**6
BOUNDARY = "xxBOUNDARYxx"
VIEWS = '''

from django.db import transaction
from django.views.decorators.csrf import csrf_exempt


@csrf_exempt
def echo(request):
    """Added by a test."""
    from django.http import HttpResponse
    return HttpResponse(request.body)


@csrf_exempt
def upload(request):
    from django.http import HttpResponse
    return HttpResponse(str(sum(file.size for file in request.FILES.values())))


@csrf_exempt
@transaction.non_atomic_requests
def order(request):
    """Commits, and dies before it has answered."""
    import os
    from accounts.models import User
    User.objects.create(email=request.body.decode())
    os.kill(os.getpid(), 9)


@csrf_exempt
def late(request):
    import time
    time.sleep(25)


@csrf_exempt
def register(request):
    from accounts.models import User
    from django.http import HttpResponse
    User.objects.create(email=request.body.decode()[:40].strip())
    return HttpResponse("registered")


def who(request):
    from django.http import HttpResponse
    return HttpResponse(f"{request.META['REMOTE_ADDR']} {request.scheme}")


@csrf_exempt
def invoice(request):
    """Answers a form with a private file."""
    from core.files import private_file
    from django.core.files.storage import storages
    from django.db.models.fields.files import FieldFile
    from django.db.models import FileField
    field = FileField(storage=storages["private"])
    field.attname = field.name = "invoice"
    return private_file(FieldFile(None, field, "invoices/ä 7.pdf"))
'''
URLS = "\nurlpatterns += [path(f'{name}/', getattr(views, name)) for name in %r]\n"


@pytest.fixture(scope="module")
def site(own: Clone) -> Clone:
    """Production with pages of all kinds, which gives up on a page after 20 s."""
    own.environment["WEB_TIMEOUT"] = "20"
    own.environment["ACCESS_LOG"] = "on"
    own.environment["TRUSTED_PROXIES"] = "127.0.0.1"  # of the proxy's own container
    own.write("web/core/views.py", VIEWS, add=True)
    names = ["echo", "upload", "order", "late", "who", "register", "invoice"]
    own.write("web/core/urls.py", URLS % (names,), add=True)
    own.run("-0")
    return own


def connect(site: Clone) -> socket.socket:
    """A connection to the proxy."""
    return socket.create_connection(("127.0.0.1", int(site.environment["HTTP_PORT"])), 30)


def send(site: Clone, raw: bytes) -> http.client.HTTPResponse:
    """Send these bytes to the proxy, and return its answer, read to its end."""
    client = connect(site)
    client.sendall(raw)
    answer = http.client.HTTPResponse(client)
    answer.begin()
    answer.body = answer.read().decode()  # type: ignore[attr-defined]
    return answer


def post(path: str, body: bytes, *headers: str) -> bytes:
    """A POST, as bytes."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


# ---- Bodies ----


@pytest.mark.parametrize("size", [8, 100_000, 2_000_000])
def test_a_body_in_chunks_arrives(site: Clone, size: int) -> None:
    """As `curl -H 'Transfer-Encoding: chunked' -d number=5` sends it, and longer ones."""
    connection = http.client.HTTPConnection("127.0.0.1", int(site.environment["HTTP_PORT"]))
    body = b"x" * size

    connection.request("POST", "/echo/", iter([body[:5], body[5:]]), {"Host": "localhost"})

    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, body)


@pytest.mark.parametrize(
    "chunks",
    [
        b"zz\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"f" * 17 + b"\r\n",
        b"\r\n",
        b"11170\r\n" + b"x" * 70000 + b"\r\nzz\r\n",
        b"3\r\nabc\r\n0\r\n:::\r\n\r\n",
    ],
    ids=["no number", "longer than it says", "too large", "empty", "the second", "trailer"],
)
def test_a_malformed_chunk_is_the_clients_fault(site: Clone, chunks: bytes) -> None:
    answer = send(site, post("/echo/", chunks, "Transfer-Encoding: chunked"))

    assert answer.status == 400
    assert answer.getheader("Retry-After") is None


def upload(size: int) -> Iterator[bytes]:
    """A form with one file, in pieces."""
    yield f"--{BOUNDARY}\r\n".encode()
    yield b'Content-Disposition: form-data; name="one"; filename="one.bin"\r\n\r\n'
    for _ in range(size // MEGABYTE):
        yield b"x" * MEGABYTE
    yield f"\r\n--{BOUNDARY}--\r\n".encode()


def send_upload(site: Clone, megabytes: int) -> tuple[int, bytes]:
    """Upload a file of that size."""
    connection = http.client.HTTPConnection("127.0.0.1", int(site.environment["HTTP_PORT"]))
    headers = {"Host": "localhost", "Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    size = sum(len(piece) for piece in upload(0)) + megabytes * MEGABYTE
    headers["Content-Length"] = str(size)
    connection.request("POST", "/upload/", upload(megabytes * MEGABYTE), headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_seven_uploads_of_90_mb_at_once_arrive_and_leave_nothing(site: Clone) -> None:
    answers: list[tuple[int, bytes]] = []
    threads = [
        threading.Thread(target=lambda: answers.append(send_upload(site, 90))) for _ in range(7)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == [(200, b"90000000")] * 7
    assert send_upload(site, 3) == (200, b"3000000")
    web = live(site)
    eventually(lambda: not web.run("find", "/uploads", "/tmp", "-type", "f"), "no file")  # noqa: S108
    opened = "ls -l /proc/[0-9]*/fd | grep /uploads || true"
    eventually(lambda: not web.run("sh", "-c", opened), "no file to be open")
    assert not web.facts()["State"]["OOMKilled"]


def test_slow_uploads_keep_nobody_waiting(site: Clone) -> None:
    """Twice as many as the site has threads."""
    head = post("/echo/", b"x" * 200_000, "Content-Length: 3000000")
    visitor = site.visitor("HTTP_PORT")
    with ExitStack() as stack:
        for _ in range(16):
            stack.enter_context(connect(site)).sendall(head)
        eventually(lambda: tells_of_bodies(live(site)) >= 16, "the site to receive them")

        assert visitor.get("/healthz").status == 200
        assert visitor.get("/").status == 200


def tells_of_bodies(web: Container) -> int:
    """How many connections the server has open, beside the one that it listens on."""
    return web.run("cat", "/proc/net/tcp").count(":1F40 ") - 1


# ---- A site that breaks off ----


def live(site: Clone) -> Container:
    """The container that serves."""
    return site.containers("prod")[site.live()]


def users(site: Clone, email: str) -> int:
    """How many users of that address there are."""
    return site.query("prod", "SELECT email FROM accounts_user").split().count(email)


def test_an_order_that_was_committed_is_not_asked_for_again(site: Clone) -> None:
    answer = send(site, post("/order/", b"a@example.com", "Content-Length: 13"))

    assert users(site, "a@example.com") == 1
    assert answer.status == 502
    assert answer.getheader("Retry-After") is None
    assert "http-equiv" not in answer.body, "a page that repeats by itself would repeat it"  # type: ignore[attr-defined]
    eventually(site.visitor("HTTP_PORT").is_up, "the site")


def test_a_page_that_takes_too_long_says_so(site: Clone) -> None:
    answer = send(site, post("/late/", b"", "Content-Length: 0"))

    assert answer.status == 504
    assert answer.getheader("Retry-After") is None
    assert "in time" in answer.body  # type: ignore[attr-defined]


def test_a_site_that_is_down_may_be_asked_again(site: Clone) -> None:
    site.compose("prod", "stop", site.live())
    try:
        answer = send(site, post("/order/", b"b@example.com", "Content-Length: 13"))
    finally:
        site.compose("prod", "start", site.live())

    assert (answer.status, answer.getheader("Retry-After")) == (503, "5")
    eventually(site.visitor("HTTP_PORT").is_up, "the site")
    assert users(site, "b@example.com") == 0


def test_a_body_that_is_too_large_is_413(site: Clone) -> None:
    answer = send(site, post("/echo/", b"x" * 100_000, "Content-Length: 100000001"))

    assert answer.status == 413


# ---- Headers ----

SECURITY = {
    "Content-Security-Policy",
    "Cross-Origin-Opener-Policy",
    "Referrer-Policy",
    "X-Content-Type-Options",
    "X-Frame-Options",
}


MALFORMED = (b"zz\r\nabc\r\n", "Transfer-Encoding: chunked")


def get(path: str, *headers: str) -> bytes:
    """A GET, as bytes."""
    return post(path, b"", *headers).replace(b"POST", b"GET", 1)


def test_headers_for_security_come_once_and_none_tells_what_serves(site: Clone) -> None:
    page = send(site, get("/"))
    missing = send(site, get("/no-such-page/"))
    of_the_proxy = send(site, post("/echo/", *MALFORMED))

    assert (page.status, missing.status, of_the_proxy.status) == (200, 404, 400)
    found = {name: len(page.headers.get_all(name, [])) for name in SECURITY}
    assert found == dict.fromkeys(SECURITY, 1)
    for answer in (page, missing, of_the_proxy):
        assert not {"Server", "Via"} & set(answer.headers)
        assert answer.headers.get_all("X-Content-Type-Options") == ["nosniff"]


NAMES = ("cat.JPG", "page.html", "logo.svg", "script.js", "noname", "a b%#.pdf")
SAVE = f"""
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage, storages
for name in {NAMES!r}: default_storage.save("kept/" + name, ContentFile(b"<script>"))
storages["private"].save("invoices/ä 7.pdf", ContentFile(b"for Ada"))
"""
DELETE = """
from django.core.files.storage import default_storage
default_storage.delete("kept/page.html")
"""


def test_nothing_that_was_uploaded_can_run_and_private_files_are_for_who_may_have_them(
    site: Clone,
) -> None:
    site.run("-0", "shell", "-c", SAVE)

    found = {name: send(site, get(f"/media/kept/{quote(name)}")) for name in NAMES}
    assert {answer.status for answer in found.values()} == {200}
    shown = {
        name: answer.headers["Content-Type"]
        for name, answer in found.items()
        if answer.headers["Content-Disposition"] == "inline"
    }
    assert shown == {"cat.JPG": "image/jpeg", "a b%#.pdf": "application/pdf"}
    assert found["page.html"].headers["Content-Type"] == "application/octet-stream"
    assert found["logo.svg"].headers["Content-Type"] == "image/svg+xml"
    for name, answer in found.items():
        assert answer.headers.get_all("X-Content-Type-Options") == ["nosniff"]
        sandboxed = "sandbox" in answer.headers.get("Content-Security-Policy", "")
        assert sandboxed == (name != "a b%#.pdf")
    assert not {"Server", "Via"} & set(found["page.html"].headers)
    for path in ("kept/", "kept", "none.jpg", "../../private/x", "%2e%2e/%2e%2e/private/x"):
        assert send(site, get(f"/media/{path}")).status == 404

    private = f"/private/invoices/{quote('ä 7.pdf')}"
    assert send(site, get(private)).status == 302
    assert send(site, get(f"/media{private}")).status == 404
    page = site.admin("HTTP_PORT").get(private)
    assert (page.status, page.text) == (200, "for Ada")
    assert page.headers["Content-Type"] == "application/pdf"
    assert "X-Accel-Redirect" not in page.headers
    assert site.admin("HTTP_PORT").get(private, Range="bytes=4-6").text == "Ada"
    # Also in answer to a form. Of the connection to Gunicorn nothing is said: HTTP/3 forbids it.
    connection = http.client.HTTPConnection("127.0.0.1", int(site.environment["HTTP_PORT"]))
    connection.request("POST", "/invoice/", headers={"Host": "localhost"})
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, b"for Ada")
    assert answer.getheader("Connection") is None
    assert len(answer.headers.get_all("Date", [])) == 1

    written = [word for word in site.run("-0", "backup").out.split() if word.startswith("backups/")]
    assert len(written) == 1
    site.run("-0", "shell", "-c", DELETE)
    assert send(site, get("/media/kept/page.html")).status == 404
    site.run("-0", "restore", f"{written[0]}/uploads.tar")
    assert send(site, get("/media/kept/page.html")).status == 200


def test_a_link_among_the_uploads_leads_to_nothing_that_is_not_for_everybody(site: Clone) -> None:
    """Code in the site can make one. The keys of certificates are root's, in the proxy's /data."""
    there = site.containers("prod")
    there["proxy"].run("sh", "-c", "umask 077 && mkdir -p /data/keys && echo hush >/data/keys/key")
    made = "echo hello >public/media/plain.txt && ln -sf plain.txt public/media/within.txt"
    links = "ln -sf /data/keys/key public/media/key.txt && ln -sf /data/keys/key private/key.txt"
    there[site.live()].run("sh", "-c", f"cd /files && {made} && {links}")
    admin = site.admin("HTTP_PORT")

    assert admin.get("/media/within.txt").text == "hello\n", "the control"
    answers = [admin.get(path) for path in ("/media/key.txt", "/private/key.txt")]

    assert [answer.status for answer in answers] == [404, 404]
    assert [answer.text for answer in answers if "hush" in answer.text] == []


def test_headers_that_are_too_large_or_never_end_end_at_the_proxy(site: Clone) -> None:
    slow = connect(site)
    slow.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")

    assert send(site, get("/", f"X-Large: {'x' * 60_000}")).status == 431
    assert slow.recv(1) == b"", "closed, within the time that the socket waits"


AMBIGUOUS = {
    b"Content-Length: 3\r\nContent-Length: 30": 400,
    b"Content-Length: 3, 30": 400,
    b"Content-Length: +3": 400,
    b"Transfer-Encoding: xchunked": 501,
    b"Transfer-Encoding: gzip, chunked": 501,
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity": 501,
    b"Transfer-Encoding : chunked": 400,
    b"Transfer-Encoding: \x0bchunked": 400,
    b"X-A: b\rTransfer-Encoding: chunked": 400,
    b"X-A: b\0c": 400,
    b"Host: evil.example": 400,
}


def test_a_request_that_two_servers_could_read_differently_ends_at_the_proxy(site: Clone) -> None:
    """No smuggling: of which length it is, and for which host, the proxy alone decides."""
    begin = b"POST /echo/?smuggled HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    seen = {header: send(site, begin + header + b"\r\n\r\nabc").status for header in AMBIGUOUS}
    strange = begin.replace(b"localhost", b"a b") + b"Content-Length: 0\r\n\r\n"

    assert seen == AMBIGUOUS
    assert send(site, strange).status == 400
    # With both lengths chunks count, and Gunicorn gets no other.
    both = ("Content-Length: 6", "Transfer-Encoding: chunked")
    answer = send(site, post("/echo/?last", b"3\r\nabc\r\n0\r\n\r\n", *both))
    assert (answer.status, answer.body) == (200, "abc")  # type: ignore[attr-defined]
    eventually(lambda: "/echo/?last" in live(site).log(), "the line")
    assert "smuggled" not in live(site).log()


def test_what_gunicorn_never_sees_is_in_the_log_of_the_proxy(site: Clone) -> None:
    """With ACCESS_LOG=on."""
    send(site, post("/echo/?unseen", *MALFORMED))

    proxy = site.containers("prod")["proxy"]
    eventually(lambda: '"uri":"/echo/?unseen"' in proxy.log(), "the line")
    line = next(line for line in proxy.log().splitlines() if "/echo/?unseen" in line)
    assert json.loads(line)["status"] == 400
    assert "?unseen" not in live(site).log()


def test_no_link_that_sets_a_password_is_in_the_logs(site: Clone) -> None:
    token = f"d0n7aa-{'0123456789abcdef' * 2}"
    site.visitor("HTTP_PORT").get(f"/accounts/reset/MQ/{token}/", Referer=f"http://x/{token}/")

    proxy, web = site.containers("prod")["proxy"], live(site)
    said = "/accounts/reset/MQ/REDACTED/"
    eventually(lambda: said in proxy.log() and said in web.log(), "a line in each")
    assert token not in proxy.log() + web.log()


def test_the_log_does_not_let_anyone_in_under_maintenance(site: Clone) -> None:
    link = re.search(r"/\?maintenance_key=(\S+)", site.run("maintenance", "on").out)
    assert link
    try:
        assert site.visitor("HTTP_PORT").get(link[0], Referer=link[0]).status == 303
        proxy = site.containers("prod")["proxy"]
        eventually(lambda: proxy.log().count("maintenance_key=REDACTED") == 2, "the line")
        assert link[1] not in proxy.log()
    finally:
        site.run("maintenance", "off")


# ---- Who asks ----


def test_a_visitor_cannot_choose_an_address(site: Clone) -> None:
    claims = {"X_Forwarded_For": "192.0.2.7", "X_Forwarded_Proto": "https"}
    seen = site.visitor("HTTP_PORT").get("/who/", **claims).text

    assert seen.endswith(" http")
    assert not seen.startswith("192.0.2.7")
    proxy = site.containers("prod")["proxy"]
    assert seen.split()[0] != proxy.address(f"{site.project('prod')}_frontend")


def test_a_proxy_in_front_tells_who_asks_and_how(site: Clone) -> None:
    """Of what the visitor wrote before it came there, nothing counts."""
    told = ("X-Forwarded-For: 203.0.113.9, 192.0.2.7", "X-Forwarded-Proto: https")
    headers = [word for header in ("Host: localhost", *told) for word in ("--header", header)]

    proxy = site.containers("prod")["proxy"]
    seen = proxy.run("wget", "-q", "-O", "-", *headers, "http://127.0.0.1/who/")

    assert seen == "192.0.2.7 https"


def test_past_the_proxy_nobody_is_believed(site: Clone) -> None:
    """Every user of the host reaches the containers' ports."""
    address = live(site).address(f"{site.project('prod')}_frontend")
    claims = {"X_Forwarded_For": "192.0.2.7", "X_Forwarded_Proto": "https", "Host": "localhost"}

    seen = Visitor(f"http://{address}:8000").get("/who/", **claims).text

    assert seen.endswith(" http"), seen
    assert not seen.startswith("192.0.2.7"), seen


# ---- Held requests ----


@contextmanager
def visited(site: Clone) -> Iterator[list[str]]:
    """Inside, four visitors ask and write, before and after; no request of theirs fails.

    The list has what they have written, as soon as that is acknowledged. Bodies of each size: the
    proxy has the smaller ones whole before it connects, and streams the largest.
    """
    over = threading.Event()
    acknowledged: list[str] = []
    failed: list[str] = []

    def visit(number: int) -> None:
        visitor = site.visitor("HTTP_PORT")
        count = 0
        while not over.is_set():
            count += 1
            email = f"held-{id(over) % 10**6}-{number}-{count}@example.com"
            body = email.ljust((40, 5_000, 200_000)[count % 3]).encode()
            try:
                seen = [visitor.get("/readyz").status, send(site, register(body)).status]
                failed.extend(f"{email}: {seen}" for status in seen if status != 200)
                acknowledged.append(email)
            except OSError as error:
                failed.append(repr(error))

    visitors = [threading.Thread(target=visit, args=(number,)) for number in range(4)]
    for one in visitors:
        one.start()
    try:
        eventually(lambda: acknowledged, "a first visitor")
        yield acknowledged
        count = len(acknowledged)
        eventually(lambda: len(acknowledged) > count + 4, "visitors afterwards")
    finally:
        over.set()
        for one in visitors:
            one.join()
    assert failed == []


WRITTEN = "SELECT email FROM accounts_user WHERE email LIKE 'held-%'"


def test_no_request_is_lost_while_a_hold_restarts_postgresql(site: Clone) -> None:
    database = site.containers("prod")["db"]
    before = database.started_at
    old = set(site.query("prod", WRITTEN).split())

    with visited(site) as acknowledged:
        site.run("hold", "docker", "restart", database.id)

    assert database.started_at != before
    now = site.query("prod", WRITTEN).split()
    assert sorted(set(now) - old) == sorted(acknowledged)
    assert len(now) == len(set(now)), "each once"


def test_no_request_is_lost_while_a_swap_of_databases_holds_them(site: Clone) -> None:
    old = set(site.query("prod", WRITTEN).split())
    said = site.run("-0", "backup").out
    name = next(word for word in said.split() if word.startswith("backups/"))
    site.run("-0", "restore", f"{name}/database.dump")
    try:
        with visited(site) as acknowledged:
            site.run("-0", "restore", "--swap")
        now = set(site.query("prod", WRITTEN).split())
        before = set(site.run("-0", "psql", "-d", "replaced", "-qAtc", WRITTEN).out.split())
    finally:
        site.run("-0", "restore", "--drop-old", ok=False)

    assert now & before == old, "what the backup had"
    assert now | before == old | set(acknowledged)
    assert now - old, "and the site writes into the restored one"


def register(body: bytes) -> bytes:
    """A POST of that body to the page that writes it into a table."""
    return post("/register/", body, f"Content-Length: {len(body)}")


def test_a_hold_ends_with_what_began_it_also_by_kill(site: Clone) -> None:
    proxy = site.containers("prod")["proxy"]
    is_held = ("sh", "/etc/caddy/site/hold.sh", "held")
    run = site.start("hold", "sleep", "600")
    eventually(lambda: proxy.try_run(*is_held).returncode == 0, "requests to be held")
    assert (
        "visitors   get no answer yet: requests are held" in site.run("-0", "status", ok=False).out
    )

    run.send(signal.SIGKILL)

    eventually(lambda: proxy.try_run(*is_held).returncode != 0, "requests to be let through")
    assert site.visitor("HTTP_PORT").is_up()
