"""`lib/mail_test.py`: one mail by a real SMTP server on loopback, and what is printed of it."""

from __future__ import annotations

import base64
import os
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from projects import REPOSITORY

SECRET = "pa55word"
OF_THE_SECRET = base64.b64encode(SECRET.encode()).decode()


class Dialogue(socketserver.StreamRequestHandler):
    """A mail server that wants a login, and takes what is not for nobody@."""

    def handle(self) -> None:
        self.say("220 mail.test ESMTP")
        logged_in = False
        while line := self.rfile.readline().decode(errors="replace").strip():
            word = line.split()[0].upper()
            if word == "EHLO":
                self.say("250-mail.test", "250 AUTH LOGIN")
            elif word == "AUTH":
                self.say("334 UGFzc3dvcmQ6")
                logged_in = self.rfile.readline().strip().decode() == OF_THE_SECRET
                self.say("235 welcome" if logged_in else "535 wrong password")
            elif word == "RCPT" and "nobody@" in line:
                self.say("550 no such user here")
            elif word == "DATA":
                self.say("354 go on")
                while self.rfile.readline() != b".\r\n":
                    pass
                self.say("250 queued as 42")
            elif word == "QUIT":
                self.say("221 bye")
            else:
                self.say("250 ok" if logged_in else "530 log in first")

    def say(self, *lines: str) -> None:
        self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())


@contextmanager
def mail_server() -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Dialogue) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        yield int(server.server_address[1])
        server.shutdown()


def send(url: str, address: str = "ada@example.com") -> tuple[int, str]:
    """Send one as `run.sh` does. Returns the exit code and what was printed."""
    with (REPOSITORY / "lib/mail_test.py").open() as program:
        done = subprocess.run(
            [sys.executable, "-", address],
            stdin=program,
            cwd=REPOSITORY / "web",
            env={
                "PATH": os.environ["PATH"],
                "DJANGO_SETTINGS_MODULE": "config.settings.prod",
                "SECRET_KEY": "x" * 50,
                "DATABASE_URL": "postgres://nobody:nothing@127.0.0.1:1/none",
                "EMAIL_URL": url,
                "DEFAULT_FROM_EMAIL": "shop@example.com",
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            capture_output=True,
            text=True,
            check=False,
        )
    assert SECRET not in done.stdout + done.stderr
    assert OF_THE_SECRET not in done.stdout + done.stderr
    return done.returncode, done.stdout + done.stderr


def test_the_dialogue_is_shown_without_the_password_and_the_mail() -> None:
    with mail_server() as port:
        code, said = send(f"smtp://shop:{SECRET}@127.0.0.1:{port}")

    assert code == 0, said
    for line in (
        f"server   127.0.0.1:{port}",
        "from     shop@example.com",
        "< 250 AUTH LOGIN",
        "> AUTH LOGIN ****",
        "< 235 welcome",
        "> rcpt TO:<ada@example.com>",
        "< 250 queued as 42",
    ):
        assert line in said
    assert "It works." not in said


@pytest.mark.parametrize(
    ("user", "address", "hint"),
    [
        ("shop:wrong", "ada@example.com", "the server refuses the user or the password"),
        (f"shop:{SECRET}", "nobody@example.com", "the server refuses this recipient"),
    ],
)
def test_a_refusal_is_explained(user: str, address: str, hint: str) -> None:
    with mail_server() as port:
        code, said = send(f"smtp://{user}@127.0.0.1:{port}", address)

    assert code == 1, said
    assert said.rstrip().splitlines()[-1].startswith(hint)


@pytest.mark.parametrize(
    ("scheme", "hint"),
    [
        ("smtp+tls", "the server offers no STARTTLS"),
        ("smtps", "the server speaks no TLS at first at this port"),
    ],
)
def test_another_kind_of_tls_than_the_servers_is_explained(scheme: str, hint: str) -> None:
    with mail_server() as port:
        code, said = send(f"{scheme}://shop:{SECRET}@127.0.0.1:{port}")

    assert code == 1, said
    assert said.rstrip().splitlines()[-1].startswith(hint)


def test_a_server_that_is_not_there_is_explained() -> None:
    code, said = send(f"smtp://shop:{SECRET}@127.0.0.1:1")

    assert code == 1
    assert said.rstrip().endswith("correct host and port in EMAIL_URL")


def test_without_email_url_it_fails_and_says_what_to_set() -> None:
    code, said = send("")

    assert code == 1
    assert "No mail can be sent. Set EMAIL_URL." in said
