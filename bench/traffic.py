"""Visitors of a site while it is released: what they ask, and what of it was lost.

The HTTP is httpx's. A visitor has one connection, HTTP/1.1 or HTTP/2, over TLS, and keeps it.
Whatever is not a whole, right answer counts as failed: no connection, a reset, a cut answer, an
answer that takes too long, a status that is not 200, another body than was to be expected.

What browsers do by themselves is done here too, and nothing more. A connection that the server
closed while it was idle is replaced before it is used. A GET that failed on a kept connection,
before anything of its answer came, is sent once more (RFC 9110, 9.2.2), and counted. A POST is
never sent again.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import random
import ssl
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

OK = 200
CONNECTIONS = 50
# Of each kind; the rest of a thousand requests are GETs.
PER_THOUSAND = {"order": 350, "slow": 4, "upload": 3}
PAGE, ORDER, SLOW, UPLOAD = "page", "order", "slow", "upload"
PATHS = {kind: f"/bench/{kind}" for kind in (ORDER, SLOW, UPLOAD)} | {PAGE: "/bench/query"}
TITLES = {PAGE: "GET", ORDER: "POST", SLOW: "3 s", UPLOAD: "5 MB"}

NOTE = "n" * 2000  # of an order: its body is some KB, as a form's is
FILE = random.Random(0).randbytes(5_000_000)  # noqa: S311 - no secret
PIECES = 50  # in which it is sent
UPLOAD_SECONDS = (5.0, 10.0)  # which that takes
BOUNDARY = "xxBOUNDARYxx"
BEFORE_FILE = (
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n'
    "Content-Type: application/octet-stream\r\n\r\n"
).encode()
AFTER_FILE = f"\r\n--{BOUNDARY}--\r\n".encode()
FILE_ANSWER = f"{len(FILE)} {hashlib.sha256(FILE).hexdigest()}".encode()

PATIENCE = httpx.Timeout(60.0, connect=30.0)  # seconds without a sign of life
AT_ONCE = 4  # requests that an HTTP/2 visitor sends together, at most; a browser sends more
NEW_CONNECTION = 0.03  # of the turns, so often, a visitor has gone and another one comes
LONG_PAUSE = 0.02  # of the pauses, so many last this long
LONG_SECONDS = (2.0, 20.0)
SHORTEST_MEAN = 0.01  # seconds, of the other pauses
HTTP1, HTTP2 = "HTTP/1.1", "HTTP/2"
SHOWN = 20  # failures that are kept in words


@dataclass(frozen=True)
class Address:
    """A site: its address without a slash at the end, and the authority it is trusted by (PEM).

    Without an authority, that of the machine counts.
    """

    base: str
    authority: str


@dataclass
class Tally:
    """What was asked, and what came of it. Counters are by kind and protocol."""

    answered: Counter[tuple[str, str]] = field(default_factory=Counter)
    failed: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)  # the first of them, in words
    faults: int = 0  # answers with 500 by which a release shows its own fault
    repeated: int = 0  # GETs that were sent again on another connection
    connections: int = 0
    seconds: list[float] = field(default_factory=list)  # of each page and order, as they ended
    sent: set[int] = field(default_factory=set)  # numbers of orders
    acknowledged: set[int] = field(default_factory=set)
    moment: Callable[[], str] = lambda: ""  # what the release does just now, for failures

    @property
    def requests(self) -> int:
        """All that have ended, well or not."""
        return sum(self.answered.values()) + sum(self.failed.values()) + self.faults

    @property
    def slowest(self) -> float:
        """The longest that a page or an order took, in seconds."""
        return max(self.seconds, default=0.0)

    def of_kind(self, kind: str) -> int:
        """How many of a kind were answered well."""
        return sum(count for (one, _), count in self.answered.items() if one == kind)

    def over(self, protocol: str) -> int:
        """How many were answered well over a protocol."""
        return sum(count for (_, one), count in self.answered.items() if one == protocol)

    def fail(self, kind: str, protocol: str, what: str) -> None:
        """One request failed."""
        self.failed[kind, protocol] += 1
        if len(self.failures) < SHOWN:
            now = time.strftime("%H:%M:%S")
            self.failures.append(f"{now} {TITLES[kind]}, {protocol}: {what}; {self.moment()}")


@dataclass(frozen=True)
class Kept:
    """What became of orders: numbers that the table has twice, and acknowledged ones it lacks."""

    doubled: list[int]
    missing: list[int]


def compare(tally: Tally, table: Mapping[int, int]) -> Kept:
    """Hold what was acknowledged against the table: number to how often it is there. Pure."""
    return Kept(
        doubled=sorted(
            number for number, count in table.items() if count > 1 or number not in tally.sent
        ),
        missing=sorted(tally.acknowledged - table.keys()),
    )


@dataclass(frozen=True)
class Question:
    """One request, and the body that its answer has to have."""

    kind: str
    method: str
    expected: bytes
    content: bytes | Callable[[], AsyncIterator[bytes]] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    number: int | None = None


@contextmanager
def traffic(
    address: Address,
    tally: Tally,
    *,
    rate: float,
    connections: int = CONNECTIONS,
    numbers: Iterator[int] | None = None,
    protocols: Sequence[str] = (HTTP1, HTTP2),
    per_thousand: Mapping[str, int] = PER_THOUSAND,
) -> Iterator[None]:
    """Inside, visitors ask; at the end each waits for the answers that it has asked for.

    rate: requests per second of all together, about. numbers: of the orders, never the same twice.
    protocols: the visitors take turns in them. per_thousand: how many requests are of which kind;
    the others are GETs.
    """
    over = threading.Event()
    spoken = [protocols[number % len(protocols)] for number in range(connections)]
    numbers = numbers or itertools.count(1)
    visits = _Visits(address, tally, rate, spoken, numbers, per_thousand=per_thousand)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(asyncio.run, visits.run(over))
        try:
            yield
        finally:
            over.set()
        running.result()


class _Visits:
    """All visitors of one site."""

    def __init__(
        self,
        address: Address,
        tally: Tally,
        rate: float,
        protocols: Sequence[str],
        numbers: Iterator[int],
        *,
        per_thousand: Mapping[str, int],
    ) -> None:
        self.address = address
        self.tally = tally
        self.numbers = numbers
        self.protocols = protocols
        self.per_thousand = per_thousand
        at_once = sum((1 + AT_ONCE) / 2 if one == HTTP2 else 1 for one in protocols)
        # The mean of the short pauses, with which the long ones come to that rate.
        self.between = max(at_once / rate - LONG_PAUSE * sum(LONG_SECONDS) / 2, SHORTEST_MEAN)
        self.page = b""

    async def run(self, over: threading.Event) -> None:
        """Visit until it is over."""
        async with connect(self.address, HTTP1) as client:
            answer = await client.get(PATHS[PAGE])
            answer.raise_for_status()
            self.page = answer.content
        ended = asyncio.Event()
        visitors = [
            asyncio.create_task(Visitor(self, protocol, ended).visit())
            for protocol in self.protocols
        ]
        await asyncio.to_thread(over.wait)
        ended.set()
        await asyncio.gather(*visitors)


def connect(address: Address, protocol: str) -> httpx.AsyncClient:
    """A client with one connection, kept for as long as the server keeps it."""
    return httpx.AsyncClient(
        base_url=address.base,
        # One for each: httpx writes into it what it speaks.
        verify=ssl.create_default_context(cadata=address.authority or None),
        http2=protocol == HTTP2,
        timeout=PATIENCE,
        limits=httpx.Limits(max_connections=1, keepalive_expiry=None),
        trust_env=False,
    )


class Visitor:
    """One visitor: a connection, and pauses between what it asks."""

    def __init__(self, visits: _Visits, protocol: str, ended: asyncio.Event) -> None:
        """`ended`: no more is asked."""
        self.visits = visits
        self.tally = visits.tally
        self.protocol = protocol
        self.ended = ended

    async def visit(self) -> None:
        """Come, ask, and go, until it is over."""
        due = time.monotonic() + random.uniform(0, self.visits.between)  # noqa: S311
        while not self.ended.is_set():
            async with connect(self.visits.address, self.protocol) as client:
                while await self.waited_until(due):
                    count = random.randint(1, AT_ONCE) if self.protocol == HTTP2 else 1  # noqa: S311
                    questions = [self.question() for _ in range(count)]
                    await asyncio.gather(*(self.ask(client, one) for one in questions))
                    due = max(due + self.pause(), time.monotonic())
                    if random.random() < NEW_CONNECTION:  # noqa: S311
                        break

    async def waited_until(self, due: float) -> bool:
        """Wait; false if it is over before."""
        try:
            await asyncio.wait_for(self.ended.wait(), max(0.0, due - time.monotonic()))
        except (TimeoutError, asyncio.TimeoutError):  # two until Python 3.11
            return True
        return False

    def pause(self) -> float:
        """Seconds until the next turn."""
        if random.random() < LONG_PAUSE:  # noqa: S311
            return random.uniform(*LONG_SECONDS)  # noqa: S311
        return random.expovariate(1 / self.visits.between)

    def question(self) -> Question:
        """What is asked next."""
        drawn = random.randrange(1000)  # noqa: S311
        for kind, share in self.visits.per_thousand.items():
            if drawn < share:
                return self.question_of(kind)
            drawn -= share
        return self.question_of(PAGE)

    def question_of(self, kind: str) -> Question:
        """One of that kind."""
        if kind == ORDER:
            number = next(self.visits.numbers)
            body = json.dumps({"number": number, "note": NOTE}).encode()
            expected = f"{number} {hashlib.sha256(body).hexdigest()}".encode()
            return Question(kind, "POST", expected, body, number=number)
        if kind == UPLOAD:
            length = len(BEFORE_FILE) + len(FILE) + len(AFTER_FILE)
            headers = {
                "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
                "Content-Length": str(length),
            }
            return Question(kind, "POST", FILE_ANSWER, slow_file, headers)
        return Question(kind, "GET", b"slow" if kind == SLOW else self.visits.page)

    async def ask(self, client: httpx.AsyncClient, question: Question) -> None:
        """Ask once, and for a GET on a kept connection that broke perhaps a second time."""
        if question.number is not None:
            self.tally.sent.add(question.number)
        began = time.monotonic()
        try:
            answer = await self.answer(client, question)
        except Exception as error:  # noqa: BLE001 - also a fault of the client's is no answer
            self.tally.fail(question.kind, self.protocol, repr(error))
            return
        seconds = time.monotonic() - began
        if answer.headers.get("X-Bench-Fault"):
            self.tally.faults += 1
            return
        wrong = self.what_is_wrong(answer, question)
        if wrong:
            self.tally.fail(question.kind, self.protocol, f"{wrong} after {seconds:.1f} s")
            return
        self.tally.answered[question.kind, self.protocol] += 1
        if question.number is not None:
            self.tally.acknowledged.add(question.number)
        if question.kind in (PAGE, ORDER):
            self.tally.seconds.append(seconds)

    async def answer(self, client: httpx.AsyncClient, question: Question) -> httpx.Response:
        """The whole answer, or the error of the last try."""
        watch = _Watch(self.tally)
        try:
            return await self.send(client, question, watch)
        except httpx.TransportError:
            if question.method != "GET" or watch.is_new or watch.began_to_answer:
                raise
        self.tally.repeated += 1
        return await self.send(client, question, _Watch(self.tally))

    async def send(
        self, client: httpx.AsyncClient, question: Question, watch: _Watch
    ) -> httpx.Response:
        """Send it, and read its answer to the end."""
        content = question.content() if callable(question.content) else question.content
        return await client.request(
            question.method,
            PATHS[question.kind],
            content=content,
            headers=question.headers,
            extensions={"trace": watch},
        )

    def what_is_wrong(self, answer: httpx.Response, question: Question) -> str:
        """Empty if nothing is."""
        if answer.status_code != OK:
            return f"status {answer.status_code} {answer.text[-200:]!r}"
        if answer.http_version != self.protocol:
            return f"answered by {answer.http_version}"
        if answer.content != question.expected:
            return f"another body, {len(answer.content)} bytes, {answer.content[:60]!r}"
        return ""


class _Watch:
    """Sees of one request whether its connection was new, and whether its answer had begun."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.is_new = False
        self.began_to_answer = False

    async def __call__(self, event: str, _: Mapping[str, object]) -> None:
        if event == "connection.connect_tcp.started":
            self.is_new = True
            self.tally.connections += 1
        elif event.endswith(".receive_response_headers.complete"):
            self.began_to_answer = True


async def slow_file() -> AsyncIterator[bytes]:
    """The form with the file, piece by piece."""
    pause = random.uniform(*UPLOAD_SECONDS) / PIECES  # noqa: S311
    size = len(FILE) // PIECES
    yield BEFORE_FILE
    for start in range(0, len(FILE), size):
        yield FILE[start : start + size]
        await asyncio.sleep(pause)
    yield AFTER_FILE
