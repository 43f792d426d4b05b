"""The visitors of `python3 -m bench releases` at a site of many faults: each of them is counted."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from waiting import until

from bench import reliability, traffic, watch
from bench.process import BenchError
from bench.release_runs import Run
from bench.traffic import HTTP1, Address, Kept, Tally, compare

PAGE = b"the page " * 1000
ENOUGH = 200  # requests


class Site(BaseHTTPRequestHandler):
    """Answers as the site of the bench does."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for an acknowledgement
    table: ClassVar[list[int]]
    numbers_of_requests: int

    def setup(self) -> None:
        super().setup()
        self.numbers_of_requests = 0

    def do_GET(self) -> None:
        self.numbers_of_requests += 1
        self.answer_get()

    def do_POST(self) -> None:
        self.numbers_of_requests += 1
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer_post(json.loads(body)["number"], hashlib.sha256(body).hexdigest())

    def answer_get(self) -> None:
        self.send(PAGE)

    def answer_post(self, number: int, checksum: str) -> None:
        self.table.append(number)
        self.send(f"{number} {checksum}".encode())

    def send(self, body: bytes, *, status: int = 200, length: int = 0, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length or len(body)))
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        self.wfile.write(body)

    def hang_up(self) -> None:
        """Without a word. (Both ends: what `close` alone does, a garbage collector decides.)"""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: object) -> None:
        """The tests do not read it."""


class Cuts(Site):
    """Breaks off in the middle of a body."""

    def answer_get(self) -> None:
        self.send(PAGE[:100], length=len(PAGE))
        self.hang_up()

    def answer_post(self, number: int, checksum: str) -> None:
        self.table.append(number)
        self.send(str(number).encode(), length=100)
        self.hang_up()


class Fails(Site):
    """Answers with errors."""

    def answer_post(self, number: int, checksum: str) -> None:
        self.send(b"error", status=502)


class OwnFault(Site):
    """Answers with an error that the release itself is to be blamed for."""

    def answer_post(self, number: int, checksum: str) -> None:
        self.send(b"error", status=500, X_Bench_Fault="yes")


class AnotherBody(Site):
    """Answers one visitor with what another one has sent."""

    def answer_post(self, number: int, checksum: str) -> None:
        self.table.append(number)
        self.send(f"{number + 1} {checksum}".encode())


class Twice(Site):
    """Does everything twice."""

    def answer_post(self, number: int, checksum: str) -> None:
        self.table.append(number)
        super().answer_post(number, checksum)


class Forgets(Site):
    """Acknowledges, and does nothing."""

    def answer_post(self, number: int, checksum: str) -> None:
        self.send(f"{number} {checksum}".encode())


class ClosesWhileIdle(Site):
    """Closes each connection after its first answer, and does not say so."""

    def answer_get(self) -> None:
        super().answer_get()
        self.hang_up()

    def answer_post(self, number: int, checksum: str) -> None:
        super().answer_post(number, checksum)
        self.hang_up()


class HangsUp(Site):
    """Takes the second request of a connection, and hangs up without an answer."""

    def do_GET(self) -> None:
        self.hang_up() if self.numbers_of_requests else super().do_GET()

    def do_POST(self) -> None:
        self.hang_up() if self.numbers_of_requests else super().do_POST()


@contextmanager
def visited(site: type[Site]) -> Iterator[Tally]:
    """Inside, visitors are at a site."""
    site.table = []
    with ThreadingHTTPServer(("127.0.0.1", 0), site) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        tally = Tally()
        try:
            address = Address(f"http://127.0.0.1:{server.server_port}", "")
            visits = traffic.traffic(
                address,
                tally,
                rate=1000,
                connections=4,
                protocols=(HTTP1,),
                per_thousand={"order": 500},
            )
            with visits:
                yield tally
        finally:
            server.shutdown()


@pytest.fixture(autouse=True)
def only_short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "LONG_PAUSE", 0)


def after_visits(site: type[Site]) -> tuple[Tally, Kept]:
    """What visitors count there, and what became of their orders."""
    with visited(site) as tally:
        until(lambda: tally.requests >= ENOUGH, f"{ENOUGH} requests")
    return tally, compare(tally, Counter(site.table))


def failed(tally: Tally, kind: str) -> bool:
    """Whether all requests of a kind have failed."""
    return tally.of_kind(kind) == 0 and tally.failed[kind, HTTP1] > 0


def test_at_a_site_without_faults_nothing_is_lost() -> None:
    tally, kept = after_visits(Site)

    assert (sum(tally.failed.values()), tally.repeated) == (0, 0), tally.failures
    assert tally.of_kind("page") > 0
    assert tally.of_kind("order") == len(tally.acknowledged) > 0
    assert kept == Kept([], [])


@pytest.mark.parametrize("site", [Fails, AnotherBody])
def test_an_error_or_another_body_is_a_failure(site: type[Site]) -> None:
    tally, kept = after_visits(site)

    assert failed(tally, "order")
    assert tally.failed["page", HTTP1] == 0
    assert tally.acknowledged == set()
    assert kept.missing == []


def test_an_error_of_the_release_itself_is_counted_apart() -> None:
    tally, _ = after_visits(OwnFault)

    assert sum(tally.failed.values()) == 0
    assert tally.faults > 0
    assert tally.acknowledged == set()


def test_the_number_that_comes_twice_is_found() -> None:
    tally, kept = after_visits(Twice)

    assert sum(tally.failed.values()) == 0
    assert set(kept.doubled) == tally.sent


def test_the_number_that_is_missing_is_found() -> None:
    tally, kept = after_visits(Forgets)

    assert sum(tally.failed.values()) == 0
    assert set(kept.missing) == tally.acknowledged
    assert kept.missing


def test_a_number_that_nobody_sent_is_found() -> None:
    assert compare(Tally(sent={1}, acknowledged={1}), {1: 1, 2: 1}) == Kept([2], [])


def test_a_connection_that_was_closed_while_it_was_idle_costs_nothing() -> None:
    tally, kept = after_visits(ClosesWhileIdle)

    assert tally.connections > ENOUGH / 2
    assert kept == Kept([], [])


def test_a_post_is_never_sent_again_and_a_get_on_a_kept_connection_once() -> None:
    tally, kept = after_visits(HangsUp)

    assert tally.repeated > 0
    assert tally.failed["page", HTTP1] == 0, tally.failures
    assert tally.failed["order", HTTP1] > 0
    assert kept == Kept([], [])


def test_a_cut_answer_is_a_failure_and_nothing_is_sent_again() -> None:
    with pytest.raises(Exception, match="peer closed connection"), visited(Cuts):
        pass  # without a page to compare with there are no visits

    class CutsLater(Cuts):
        def answer_get(self) -> None:
            self.send(PAGE)

    tally, kept = after_visits(CutsLater)

    assert failed(tally, "order")
    assert tally.repeated == 0
    assert kept == Kept([], [])


# --- The runs of run.sh, and the table ------------------------------------------------------------


def run(folder: Path, script: str) -> Run:
    """A run.sh of that content."""
    (folder / "run.sh").write_text(script)
    return Run(("-0",), folder, {"PATH": "/usr/bin:/bin"}, folder / "said")


def test_a_run_is_killed_in_the_step_that_is_named_without_its_colour(tmp_path: Path) -> None:
    script = "printf 'Build ... '; echo 'done (0 s)'; printf 'Start green ... '; sleep 600\n"

    one = run(tmp_path, script)

    assert one.kill_in("Start", 0)
    assert one.process.returncode == -signal.SIGKILL
    assert one.step == "Start"


def test_a_run_that_never_comes_to_a_step_is_not_killed(tmp_path: Path) -> None:
    one = run(tmp_path, "printf 'Build ... '; echo 'done (0 s)'\n")

    assert not one.kill_in("Switch to", 0)
    assert one.wait() == 0
    assert list(one.seconds) in (["Build"], [])


def test_the_step_that_failed_is_known_without_its_colour(tmp_path: Path) -> None:
    one = run(tmp_path, "printf 'Build ... done (0 s)\\nStart blue ... failed\\n'; exit 1\n")

    assert one.wait() == 1
    assert one.failed_in == "Start"


def row(**numbers: int) -> reliability.Row:
    """A row, with 1 failed request and so on."""
    tally = Tally(answered=Counter({("page", HTTP1): 5000, ("order", traffic.HTTP2): 2000}))
    tally.failed["page", HTTP1] = numbers.get("failed", 0)
    kept = Kept([1] * numbers.get("doubled", 0), [2] * numbers.get("missing", 0))
    return reliability.Row("released", "released", 20, 60.0, tally, kept)


@pytest.mark.parametrize("loss", ["failed", "doubled", "missing"])
def test_each_loss_is_told(loss: str) -> None:
    assert row().is_clean
    assert not row(**{loss: 1}).is_clean
    assert "none was lost" in reliability.verdict([row(), row()])
    assert "none was lost" not in reliability.verdict([row(), row(**{loss: 1})])


def test_the_page_has_the_table_and_says_how_it_was_made() -> None:
    facts = {"date": "today", "machine": "2 cores"}

    page = reliability.as_page("", [row(), row(failed=3)], facts)

    assert "| released | 20 | 5,000 | 2,000 | 0 | 0 | 2,000 | 3 | 0 | 0 | 0.0 s |" in page
    assert "| all | 40 | 10,000 | 4,000 | 0 | 0 | 4,000 | 3 | 0 | 0 | 0.0 s |" in page
    assert "- machine: 2 cores" in page
    assert "Of 14,003 requests 3 failed" in page


def test_a_part_that_is_not_measured_again_stays_on_the_page() -> None:
    killed = replace(row(), part="killed", title="killed in: Stop")

    first = reliability.as_page("", [row(missing=1), killed], {"date": "yesterday"})
    second = reliability.as_page(first, [row()], {"date": "today"})

    assert second.count("\n# ") + second.startswith("# ") == 1
    assert re.findall(r"^## .*|^- date: .*", second, re.MULTILINE) == [
        "## One release after the other",
        "- date: today",
        "## Killed in each step",
        "- date: yesterday",
    ]
    assert reliability.as_page(second, [row()], {"date": "today"}) == second


def test_the_page_of_the_repository_is_one_that_the_bench_wrote() -> None:
    """With the columns of today, all parts, and without a loss."""
    page = reliability.PAGE.read_text(encoding="utf-8")

    assert reliability.as_page(page, [], {}) == page
    head = f"| {' | '.join(reliability.COLUMNS)} |"
    assert page.count(head) == page.count("none was lost") == len(reliability.PARTS)


# --- The watch ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "taken_back", "right"),
    [
        (watch.ERRORS, 3, True),
        (watch.ERRORS, 2, False),
        (watch.GOOD, 0, True),
        (watch.GOOD, 1, False),
    ],
)
def test_a_bad_version_has_to_be_taken_back_each_time_and_a_good_one_never(
    kind: str, taken_back: int, *, right: bool
) -> None:
    assert watch.Tries(kind, 3, [4.0] * taken_back).is_right is right


def test_the_reason_is_read_and_what_failed_otherwise_is_no_try(tmp_path: Path) -> None:
    taken = run(tmp_path, f"echo 'error: {watch.TAKEN_BACK} it stopped' >&2; exit 1\n")
    assert watch.reason_of(taken) == "it stopped"
    assert watch.reason_of(run(tmp_path, "exit 0\n")) == ""
    with pytest.raises(BenchError, match="not by its watch"):
        watch.reason_of(run(tmp_path, "echo 'error: the disk is full' >&2; exit 1\n"))


def test_the_sentence_of_the_watch_is_what_run_sh_says() -> None:
    library = (reliability.PAGE.parents[1] / "lib/release_watch.sh").read_text(encoding="utf-8")
    assert f"{watch.TAKEN_BACK} $watch_reason" in library


def test_kinds_that_are_tried_one_after_the_other_come_into_one_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reliability, "PAGE", tmp_path / "page.md")
    for kind, seconds, add in (
        (watch.GOOD, [], False),
        (watch.ERRORS, [3.0], False),
        (watch.ERRORS, [4.0, 8.0], False),
        (watch.ERRORS, [9.0, 5.0], True),
        (watch.GOOD, [], True),
    ):
        watch.write([watch.Tries(kind, 2, seconds).cells()], {"date": "today"}, add=add)

    page = reliability.written()
    assert "500 | 4 | 4 | 9 | 0 | 0 |\n| good | 4 | 0 |  | 0 | 0 |\n" in page
    assert "**Of 4 bad versions 4 were taken back, of 4 good ones 0.**" in page
