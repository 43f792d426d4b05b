"""Gunicorn's gthread worker, in which slow clients take no thread of the application.

gthread gives a request its thread when the first byte comes, so that as many slow uploads as there
are threads stop the site. Here other threads, which are cheap and hold no database connection,
receive the body (bodies.py); the application's threads only see requests that are complete. One
that has no body, and is here already, goes to them at once. What a slow client leaves of an answer
is sent by the event loop (answers.py).
"""

from __future__ import annotations

import os
import resource
import selectors
import socket
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import BoundedSemaphore
from typing import Any

from gunicorn import util
from gunicorn.workers.gthread import ThreadWorker

from postdo_serving import answers, bodies, clients, database, uploads

RECEIVERS = 256  # threads that wait for a client or for the application, in each process
UPLOADS_AT_ONCE = 224  # of them with a body on its way; the others are left for everything else
LOOKED_AT = 32 * 1024  # bytes of what has come, to see whether it is a whole request

# Headers of a request that something has to be received of, or that is answered in another way.
NOT_WHOLE = (b"\ncontent-length", b"\ntransfer-encoding", b"\nexpect", b"\nupgrade")


@dataclass
class Unsent:
    """The rest of an answer, the request's outcome, and when the client last took a byte."""

    rest: answers.Rest
    outcome: Future[bool]
    taken: float


class Worker(ThreadWorker):  # type: ignore[misc]  # Gunicorn has no types
    """A gthread worker that receives a body before it calls the application.

    After the answer it removes what is left of uploads.
    """

    def get_thread_pool(self) -> ThreadPoolExecutor:
        """Return the pool for connections; the application's threads are another pool."""
        self.application = ThreadPoolExecutor(self.cfg.threads, "application")
        self.proxies = clients.Proxies(os.environ)
        self.receiving = BoundedSemaphore(UPLOADS_AT_ONCE)
        self.room = bodies.Room(bodies.limits(os.environ, self.cfg.workers))
        self.room_for_answers = bodies.Room(self.room.limits)
        self.unsent: dict[Any, Unsent] = {}
        return ThreadPoolExecutor(RECEIVERS, "receiver")

    def run(self) -> None:
        """Serve requests, with a folder of this process's own for uploads."""
        problem = uploads.use_own_folder()
        if problem:
            self.log.warning("Uploads of a worker that is killed will stay: %s", problem)
        database.save_round_trips()
        # A slow client takes two descriptors. Some engines give a container 1024 to begin with.
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        for listener in self.sockets:  # what it accepts has the same
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, answers.IN_KERNEL)
        super().run()

    def enqueue_req(self, conn: Any) -> None:
        """Have a request answered; called by the event loop when something has come.

        A thread that would only hand it on costs a small page a tenth of its time.
        """
        if not is_whole(conn):
            super().enqueue_req(conn)
            return
        conn.data_ready = True
        outcome = self.application.submit(self.handle_whole, conn)
        outcome.add_done_callback(
            lambda done: self.method_queue.defer(self.finish_request, conn, done)
        )

    def handle_whole(self, conn: Any) -> Any:
        """Read and answer a request that is here already, in a thread of the application."""
        conn.is_whole = True
        try:
            return self.handle(conn)
        finally:
            conn.is_whole = False

    def handle_request(self, req: Any, conn: Any) -> bool:
        """Receive the body in this thread, then let one of the application's threads answer."""
        if getattr(conn, "is_whole", False):
            with clients.named(req, conn, self.proxies):
                return self.answer(req, conn)
        body = req.body
        try:
            with (
                clients.named(req, conn, self.proxies),
                bodies.received(req, conn.sock, self.room, self.receiving),
            ):
                return bool(self.application.submit(self.answer, req, conn).result())
        except bodies.RefusedError as refused:
            self.log.warning("%s %s: %s", req.method, req.uri[:2048], refused)
            util.write(conn.sock, refused.answer())
            # Here, since Gunicorn would make its main thread wait. What still comes is read for two
            # seconds at most: closed over unread bytes, the answer would not reach the proxy.
            util.close_graceful(conn.sock, max_drain=sys.maxsize)
            raise StopIteration from None
        finally:
            req.body = body

    def finish_request(self, conn: Any, fs: Any) -> None:
        """Finish a connection; one that is closed already is counted only once.

        gthread would close it again, which fails, and a stop would then not wait for another
        upload.
        """
        if conn.sock.fileno() < 0:
            self.nr_conns -= 1
            return
        rest = conn.__dict__.pop("rest", None)
        if rest is None:
            super().finish_request(conn, fs)
            return
        conn.sock.setblocking(False)
        self.unsent[conn] = Unsent(rest, fs, time.monotonic())
        self.poller.register(conn.sock, selectors.EVENT_WRITE, partial(self.send_rest, conn))

    def send_rest(self, conn: Any, _: Any) -> None:
        """In the event loop: the client takes more. At the end Gunicorn goes on with it."""
        unsent = self.unsent[conn]
        try:
            unsent.rest.send(conn.sock)
        except OSError:
            self.give_up(conn)
            return
        unsent.taken = time.monotonic()
        if not unsent.rest:
            self.poller.unregister(conn.sock)
            del self.unsent[conn]
            super().finish_request(conn, unsent.outcome)

    def give_up(self, conn: Any) -> None:
        """Close a connection whose client has left, or takes nothing."""
        self.unsent.pop(conn).rest.close()
        self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()

    def murder_keepalived(self, force: bool = False) -> None:
        """Close what is idle for too long; Gunicorn's loop calls this every second."""
        super().murder_keepalived(force)
        earliest = time.monotonic() - answers.SILENCE
        for conn, unsent in list(self.unsent.items()):
            if force or unsent.taken < earliest:
                self.give_up(conn)

    def answer(self, req: Any, conn: Any) -> bool:
        """Call the application as gthread does, and close what is left of its uploads."""
        outlet = conn.sock = answers.Outlet(conn.sock, self.room_for_answers)
        try:
            with uploads.closed_at_the_end():
                keeps_alive = bool(super().handle_request(req, conn))
        except BaseException:
            outlet.rest.close()
            raise
        finally:
            conn.sock = outlet.socket
        if outlet.rest:
            conn.rest = outlet.rest
        else:
            outlet.rest.close()  # of what could not be written it has taken room all the same
        return keeps_alive


def is_whole(conn: Any) -> bool:
    """Whether all of a request has come, and it has no body. Looks without reading, or waiting."""
    if conn.parser is not None and conn.parser.unreader.buf.getvalue():
        return False  # its beginning has been read with the request before it
    try:
        head = conn.sock.recv(LOOKED_AT, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except (OSError, ValueError):
        return False
    if not head.startswith((b"GET ", b"HEAD ")) or not head.endswith(b"\r\n\r\n"):
        return False
    lower = head.lower()
    return not any(header in lower for header in NOT_WHOLE)
