"""An editor that debugs: the part of the Debug Adapter Protocol that it takes to stop in a view."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from types import TracebackType
from typing import Any

PATIENCE = 30.0  # seconds


class Debugger:
    """A session with one process, over the port of debugpy's adapter."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._stream = self._socket.makefile("rb")
        self._sent = 0
        self._unread: list[dict[str, Any]] = []

    def __enter__(self) -> Debugger:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._socket.close()

    def ask(self, command: str, **arguments: object) -> dict[str, Any]:
        """Send a request and wait for its answer."""
        self._send(command, arguments)
        answer = self._next(f"the answer to {command}", type="response", command=command)
        assert answer["success"], answer
        body: dict[str, Any] = answer.get("body") or {}
        return body

    def event(self, name: str) -> dict[str, Any]:
        """Wait for an event of that name."""
        body: dict[str, Any] = self._next(name, type="event", event=name).get("body") or {}
        return body

    def attach(self, path: Path, line: int, **configuration: object) -> Debugger:
        """Attach as launch.json says, with a breakpoint in that line."""
        self.ask("initialize", adapterID="debugpy", pathFormat="path", linesStartAt1=True)
        self._send("attach", configuration)  # answered when the configuration is done
        self.event("initialized")
        where = {"source": {"path": str(path)}, "breakpoints": [{"line": line}]}
        (breakpoint_,) = self.ask("setBreakpoints", **where)["breakpoints"]
        assert breakpoint_["verified"], breakpoint_
        self.ask("configurationDone")
        return self

    def child(self, path: Path, line: int) -> Debugger:
        """Attach to the process that this one has started, as the adapter asks editors to."""
        wanted = self.event("debugpyAttach")
        assert wanted["connect"] == {"host": "127.0.0.1", "port": self._port}
        return Debugger(self._port).attach(path, line, **wanted)

    def value_where_it_stopped(self, expression: str) -> str:
        """What an expression is worth where the process has stopped; then let it go on."""
        thread = self.event("stopped")["threadId"]
        frame = self.ask("stackTrace", threadId=thread)["stackFrames"][0]
        value = self.ask("evaluate", expression=expression, frameId=frame["id"])["result"]
        self.ask("continue", threadId=thread)
        return str(value)

    def _send(self, command: str, arguments: dict[str, object]) -> None:
        self._sent += 1
        request = {"seq": self._sent, "type": "request", "command": command}
        body = json.dumps({**request, "arguments": arguments}).encode()
        self._socket.sendall(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))

    def _next(self, what: str, **wanted: str) -> dict[str, Any]:
        for message in self._unread:
            if wanted.items() <= message.items():
                self._unread.remove(message)
                return message
        while message := self._read():
            if wanted.items() <= message.items():
                return message
            self._unread.append(message)
        raise AssertionError(f"the adapter ended before {what}")

    def _read(self) -> dict[str, Any]:
        length = 0
        while line := self._stream.readline().strip():
            name, _, value = line.partition(b":")
            length = int(value) if name == b"Content-Length" else length
        message: dict[str, Any] = json.loads(self._stream.read(length)) if length else {}
        return message
