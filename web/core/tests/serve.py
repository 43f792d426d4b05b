"""Serve the project on a listening socket that the parent process hands over, by its number."""

import socket
import sys
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from config.wsgi import application


class SilentHandler(WSGIRequestHandler):
    """Leave standard error to the project."""

    def log_message(self, *_: object) -> None:
        """Log no request lines."""


def serve(descriptor: int) -> None:
    """Answer one request after the other, on one thread, until the process is ended."""
    listener = socket.socket(fileno=descriptor)
    server = WSGIServer(listener.getsockname(), SilentHandler, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    server.server_name, server.server_port = listener.getsockname()
    server.setup_environ()
    server.set_app(application)
    server.serve_forever()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
