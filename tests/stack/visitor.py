"""A browser of the plainest kind: it keeps cookies, sends forms, and follows nothing by itself."""

from __future__ import annotations

import http.client
import http.cookiejar
import re
import ssl
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message

PATIENCE = 30.0  # seconds for one answer
# Shorter than any restart, of which the shortest takes 0.5 s (docs/decisions/changed-env.md). A
# visit costs 0.01 s of CPU, here and in the containers.
BETWEEN_VISITS = 0.1
CROWD = 8
BETWEEN_REQUESTS = 0.05


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Message
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    def __str__(self) -> str:
        return f"{self.status}\n{self.headers}\n{self.text[:2000]}"


class _StayHere(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object, **__: object) -> None:
        """No redirect is followed: the tests look at it."""


class Visitor:
    """One browser at one site; `base` like http://127.0.0.1:8000, without a slash at the end."""

    def __init__(self, base: str, trust: str | None = None) -> None:
        """`trust`: a certificate authority in PEM; without one only plain HTTP makes sense."""
        self.base = base
        self.cookies = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(
            _StayHere(),
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPCookieProcessor(self.cookies),
            urllib.request.HTTPSHandler(context=ssl.create_default_context(cadata=trust)),
        )

    def get(self, path: str = "/", **headers: str) -> Answer:
        """Ask for a page. Header names are written with _ for -. Raises OSError without answer."""
        return self._ask(path, {name.replace("_", "-"): text for name, text in headers.items()})

    def post(self, path: str, form: dict[str, str]) -> Answer:
        """Send a form, with the Origin that a browser adds."""
        sent_from = {"Origin": self.base, "Referer": self.base + path}
        return self._ask(path, sent_from, urllib.parse.urlencode(form).encode())

    def submit(self, path: str, **fields: str) -> Answer:
        """Open a page with a form of Django's, fill in the fields, and send it."""
        return self.post(path, {"csrfmiddlewaretoken": self._token(path), **fields})

    def upload(self, path: str, field: str, file: tuple[str, bytes], **fields: str) -> Answer:
        """The same of a form with a file, of which the name and the content are given."""
        end = "the-end-of-a-part"
        part = f'--{end}\r\nContent-Disposition: form-data; name="%s"'
        body = "".join(
            f"{part % name}\r\n\r\n{value}\r\n"
            for name, value in {"csrfmiddlewaretoken": self._token(path), **fields}.items()
        )
        body += f'{part % field}; filename="{file[0]}"\r\n\r\n'
        headers = {
            "Origin": self.base,
            "Referer": self.base + path,
            "Content-Type": f"multipart/form-data; boundary={end}",
        }
        return self._ask(path, headers, body.encode() + file[1] + f"\r\n--{end}--\r\n".encode())

    def _token(self, path: str) -> str:
        page = self.get(path)
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
        assert token, f"no form at {path}:\n{page}"
        return token[1]

    def log_in(self, email: str, password: str) -> None:
        """Log in to the admin, as a person does."""
        answer = self.submit("/admin/login/", username=email, password=password, next="/admin/")
        assert answer.status == http.client.FOUND, f"{email} cannot log in:\n{answer}"

    def add_user(self, email: str) -> None:
        """Add a user in the admin; who does must have logged in."""
        word = "a-long-enough-passw0rd"
        answer = self.submit(
            "/admin/accounts/user/add/",
            **{"email": email, "usable_password": "true", "password1": word, "password2": word},
        )
        assert answer.status == http.client.FOUND, f"{email} was not added:\n{answer}"

    def is_up(self, path: str = "/readyz") -> bool:
        """Whether a page answers with 200."""
        try:
            return self.get(path).status == http.client.OK
        except OSError:
            return False

    def _ask(self, path: str, headers: dict[str, str], form: bytes | None = None) -> Answer:
        url = self.base + path
        request = urllib.request.Request(url, form, headers)  # noqa: S310 - a site of the tests
        try:
            with self._opener.open(request, timeout=PATIENCE) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as answer:
            with answer:
                return Answer(answer.code, answer.headers, answer.read())
        except http.client.HTTPException as error:
            raise ConnectionError(f"{url}: {error!r}") from error


@contextmanager
def asking(visitors: Sequence[Visitor], path: str, pause: float) -> Iterator[Counter[str]]:
    """Inside, each asks for the page all the time; how often which status or error came."""
    over, outcomes = threading.Event(), Counter[str]()

    def visit(visitor: Visitor) -> None:
        while not over.wait(pause):
            try:
                outcomes[str(visitor.get(path).status)] += 1
            except OSError as error:
                outcomes[repr(error)] += 1

    with ThreadPoolExecutor(len(visitors)) as pool:
        visits = [pool.submit(visit, visitor) for visitor in visitors]
        try:
            yield outcomes
        finally:
            over.set()
    for one in visits:
        one.result()


@contextmanager
def answering(visitor: Visitor, path: str) -> Iterator[None]:
    """Inside, the page is asked for again and again, and always comes."""
    with asking([visitor], path, BETWEEN_VISITS) as outcomes:
        yield
    assert set(outcomes) <= {"200"}, outcomes


@contextmanager
def crowded(visitor: Visitor, path: str) -> Iterator[list[int]]:
    """Inside, many ask at once, and always get the page: half of them keep their connection.

    Yields a list of the answers' statuses, which grows.
    """
    address = urllib.parse.urlsplit(visitor.base).netloc
    over = threading.Event()
    answered: list[int] = []
    failed: list[str] = []

    def visit(headers: dict[str, str]) -> None:
        connection = http.client.HTTPConnection(address, timeout=PATIENCE)
        while not over.wait(BETWEEN_REQUESTS):
            try:
                connection.request("GET", path, headers=headers)
                with connection.getresponse() as answer:
                    answer.read()
                    answered.append(answer.status)
                    failed.extend([] if answer.status == 200 else [str(answer.status)])
            except (OSError, http.client.HTTPException) as error:
                failed.append(repr(error))
                connection.close()
        connection.close()

    kinds: list[dict[str, str]] = [{}, {"Connection": "close"}] * (CROWD // 2)
    threads = [threading.Thread(target=visit, args=(headers,)) for headers in kinds]
    for thread in threads:
        thread.start()
    try:
        yield answered
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert not failed, (
        f"{len(failed)} of {len(answered)} requests failed, the first with {failed[0]}"
    )
