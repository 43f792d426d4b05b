"""Gunicorn's gthread worker, in which slow clients take no thread of the application.

gthread gives a request its thread when the first byte comes, so that as many slow uploads as there
are threads stop the site. Here other threads, which are cheap and hold no database connection,
receive the body (bodies.py); the application's threads only see requests that are complete.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import Any

from gunicorn import util
from gunicorn.workers.gthread import ThreadWorker

from postdo_serving import bodies, clients, uploads

RECEIVERS = 64  # threads that wait for a client or for the application, in each process
UPLOADS_AT_ONCE = 48  # of them with a body on its way; the others are left for everything else


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
        return ThreadPoolExecutor(RECEIVERS, "receiver")

    def run(self) -> None:
        """Serve requests, with a folder of this process's own for uploads."""
        problem = uploads.use_own_folder()
        if problem:
            self.log.warning("Uploads of a worker that is killed will stay: %s", problem)
        super().run()

    def handle_request(self, req: Any, conn: Any) -> bool:
        """Receive the body in this thread, then let one of the application's threads answer."""
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
        super().finish_request(conn, fs)

    def answer(self, req: Any, conn: Any) -> bool:
        """Call the application as gthread does, and close what is left of its uploads."""
        with uploads.closed_at_the_end():
            return bool(super().handle_request(req, conn))
