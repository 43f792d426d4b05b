"""`lib/send_alert.py`: to real servers on loopback, in the form that each of them takes."""

from __future__ import annotations

import base64
import importlib.util
import os
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.header import decode_header, make_header

import pytest
from projects import REPOSITORY
from receivers import Receiver, receiver

PROGRAM = REPOSITORY / "lib/send_alert.py"
SUBJECT = "shop: o disco está cheio"
TEXT = "the disk is full\n  next: free some"
PASSWORD = "p@ss/word"


@pytest.fixture
def chat() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


def send(text: str = TEXT, **request: str) -> tuple[int, list[str]]:
    """Send as run.sh does. Returns the exit code, and what each channel answered."""
    request = {"site": "shop.example", "state": "problem", "subject": SUBJECT, **request}
    lines = "".join(f"{key}={value}\n" for key, value in request.items())
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", PROGRAM.read_text()],
        input=f"{lines}\n{text}\n",
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://hooks.slack.com/services/T0/B0/x", "slack"),
        ("slack+https://chat.example/hooks/x", "slack"),
        ("https://discord.com/api/webhooks/1/x", "discord"),
        ("https://api.telegram.org/bot1:x/sendMessage?chat_id=7", "telegram"),
        ("https://ntfy.sh/topic", "ntfy"),
        ("https://ntfy.example.com/topic", "ntfy"),
        ("ntfy+https://push.example.com/topic", "ntfy"),
        ("https://example.com/hook", "json"),
        ("https://example.com/discord.com/ntfy.sh", "json"),
    ],
)
def test_the_form_is_known_by_the_address(url: str, kind: str) -> None:
    spec = importlib.util.spec_from_file_location("send_alert", PROGRAM)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["send_alert"] = module
    spec.loader.exec_module(module)
    assert module.kind_of(url) == (kind, url.removeprefix(f"{kind}+"))


def test_slack_and_what_takes_the_same(chat: Receiver) -> None:
    code, said = send(webhooks=f"slack+{chat.address}/services/secret")
    (taken,) = chat.requests
    assert taken.fields == {"text": f"{SUBJECT}\n{TEXT}"}
    assert taken.headers["Content-Type"] == "application/json"
    assert (code, said) == (0, ["told=slack 127.0.0.1: 200 ok"])


def test_discord_takes_2000_characters_and_nobody_is_mentioned(chat: Receiver) -> None:
    send("@everyone " + "x" * 3000, webhooks=f"discord+{chat.address}/x")
    fields = chat.requests[0].fields
    assert len(fields["content"]) == 2000
    assert fields["content"].startswith(f"{SUBJECT}\n@everyone xx")
    assert fields["allowed_mentions"] == {"parse": []}


def test_telegram_gets_the_chat_that_the_address_names(chat: Receiver) -> None:
    send(webhooks=f"telegram+{chat.address}/bot1:secret/sendMessage?chat_id=-42")
    (taken,) = chat.requests
    assert taken.path == "/bot1:secret/sendMessage"
    assert taken.fields == {"chat_id": "-42", "text": f"{SUBJECT}\n{TEXT}"}


@pytest.mark.parametrize(("state", "priority"), [("problem", "high"), ("ended", "default")])
def test_ntfy_has_a_title_and_wakes_nobody_for_an_end(
    chat: Receiver, state: str, priority: str
) -> None:
    send(webhooks=f"ntfy+{chat.address}/topic", state=state)
    (taken,) = chat.requests
    assert taken.body == TEXT
    assert str(make_header(decode_header(taken.headers["Title"]))) == SUBJECT
    assert taken.headers["Priority"] == priority


def test_anything_else_gets_json_with_all_of_it(chat: Receiver) -> None:
    send(webhooks=f"{chat.address}/hook")
    assert chat.requests[0].fields == {
        "text": f"{SUBJECT}\n{TEXT}",
        "site": "shop.example",
        "subject": SUBJECT,
        "state": "problem",
    }


def test_one_that_refuses_keeps_no_other_from_being_told(chat: Receiver) -> None:
    chat.status = 404
    with receiver() as other:
        urls = f"http://127.0.0.1:1/secret {chat.address}/secret {other.address}/secret"
        code, said = send(webhooks=urls)
        assert code == 0
        assert said[0].startswith("failed=json 127.0.0.1: ")
        assert said[1:] == [
            "failed=json 127.0.0.1: 404 no such channel",
            "told=json 127.0.0.1: 200 ok",
        ]
        assert "secret" not in "".join(said), "an address is mostly a secret"


def test_the_heartbeat_ends_when_nobody_can_be_told(chat: Receiver) -> None:
    with receiver() as switch:
        beat = f"{switch.address}/ping/uuid"
        assert send("", subject="", heartbeat=beat)[0] == 0
        assert send(webhooks=f"{chat.address}/x", heartbeat=beat)[0] == 0
        assert [(one.method, one.path) for one in switch.requests] == [("GET", "/ping/uuid")] * 2
        chat.status = 500
        assert send(webhooks=f"{chat.address}/x", heartbeat=beat)[0] == 1
        assert len(switch.requests) == 2


# --- Mail -----------------------------------------------------------------------------------------


class MailServer(socketserver.StreamRequestHandler):
    """A mail server that wants a login, and keeps what it is sent."""

    mails: list[str]

    def handle(self) -> None:
        self.say("220 mail.test ESMTP")
        logged_in = False
        while line := self.rfile.readline().decode(errors="replace").strip():
            word = line.split()[0].upper()
            if word == "EHLO":
                self.say("250-mail.test", "250 AUTH LOGIN")
            elif word == "AUTH":
                self.say("334 UGFzc3dvcmQ6")
                given = base64.b64decode(self.rfile.readline()).decode()
                logged_in = given == PASSWORD
                self.say("235 welcome" if logged_in else "535 wrong password")
            elif word == "RCPT" and "nobody@" in line:
                self.say("550 no such user here")
            elif word == "DATA":
                self.say("354 go on")
                lines = []
                while (text := self.rfile.readline()) != b".\r\n":
                    lines.append(text.decode())
                type(self).mails.append("".join(lines))
                self.say("250 queued")
            elif word == "QUIT":
                self.say("221 bye")
            else:
                self.say("250 ok" if logged_in else "530 log in first")

    def say(self, *lines: str) -> None:
        self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())


@contextmanager
def mail_server() -> Iterator[tuple[int, list[str]]]:
    kind = type("Kind", (MailServer,), {"mails": []})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), kind) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        yield int(server.server_address[1]), kind.mails  # type: ignore[attr-defined]
        server.shutdown()


def test_a_mail_goes_by_the_sites_server() -> None:
    with mail_server() as (port, mails):
        url = f"smtp://shop%40example.com:p%40ss%2Fword@127.0.0.1:{port}"
        code, said = send(mail=url, recipients="ada@example.com,nobody@example.com")
    assert (code, said) == (0, ["told=mail 127.0.0.1: handed over for ada@example.com"])
    (mail,) = mails
    assert "From: shop@example.com\r\n" in mail
    assert "To: ada@example.com, nobody@example.com\r\n" in mail
    assert "Auto-Submitted: auto-generated\r\n" in mail
    assert "the disk is full\r\n  next: free some\r\n" in mail


@pytest.mark.parametrize(
    ("url", "recipients", "reason"),
    [
        ("smtp://shop:wrong@127.0.0.1:{port}", "ada@example.com", "wrong password"),
        ("smtp://shop:p%40ss%2Fword@127.0.0.1:{port}", "nobody@example.com", "no such user"),
        ("smtp+tls://127.0.0.1:{port}", "ada@example.com", "STARTTLS"),
        ("smtp://127.0.0.1:1", "ada@example.com", "refused"),
    ],
)
def test_why_a_mail_was_not_taken_is_told(url: str, recipients: str, reason: str) -> None:
    with mail_server() as (port, mails):
        code, (said,) = send(mail=url.format(port=port), recipients=recipients)
    assert (code, mails) == (1, [])
    assert said.startswith("failed=mail 127.0.0.1: ")
    assert reason in said
    assert "wrong@" not in said
