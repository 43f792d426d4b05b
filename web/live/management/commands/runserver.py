"""`manage.py runserver`, with WebSockets: reloader and options are Django's, the server uvicorn."""

import logging
import warnings
from typing import Any

import uvicorn
from django.conf import settings
from django.core.management.commands import runserver
from django.core.servers.basehttp import WSGIServer
from django.utils.module_loading import import_string


class UvicornServer(WSGIServer):
    """Listens as Django's server does, and lets uvicorn answer."""

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Serve until the process ends."""
        # What it does itself is no news; requests are, and have a logger of their own.
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
        # WhiteNoise's files are read as a whole; they are small.
        warnings.filterwarnings("ignore", "StreamingHttpResponse must consume synchronous")
        application: Any = self.get_app()
        config = uvicorn.Config(
            application,
            loop="asyncio",
            http="h11",
            ws="websockets-sansio",
            log_config=None,
            workers=1,  # else it reads WEB_CONCURRENCY, which is Gunicorn's and may be empty
        )
        uvicorn.Server(config).run([self.socket])


class Command(runserver.Command):
    """Serve ASGI_APPLICATION. Django's own runserver speaks WSGI, which has no WebSockets."""

    server_cls = UvicornServer

    def get_handler(self, *args: Any, **options: Any) -> Any:
        """Return the application."""
        return import_string(settings.ASGI_APPLICATION)
