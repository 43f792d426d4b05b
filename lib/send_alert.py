"""Tell an operator: a webhook, a mail, a ping. `python -I -S -c PROGRAM < REQUEST`.

The standard library alone, of Python 3.9 or newer: run.sh gives it to that of the machine, or of
an image that is there. What it has to do is on its input, so that no list of processes shows it:
KEY=VALUE lines, an empty line, and the text. For each channel it prints `told=` or `failed=`, and
what the channel answered. Exit code 1 if none of them took it.
"""

from __future__ import annotations

import http.client
import json
import smtplib
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from email.header import Header
from email.message import EmailMessage
from email.utils import formatdate, make_msgid, parseaddr
from functools import partial
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

SECONDS = 10  # for a channel to answer
LONGEST = {"discord": 2000, "telegram": 4096}  # characters that they take
KINDS = ("slack", "discord", "telegram", "ntfy", "json")
# As web/config/mail.py. Scheme to default port, STARTTLS, TLS at once.
SCHEMES = {
    "smtp": (25, False, False),
    "smtp+tls": (587, True, False),
    "smtp+ssl": (465, False, True),
    "smtps": (465, False, True),
}


class Alert(NamedTuple):
    """What is told. `state` is problem, ended, done or test."""

    site: str
    subject: str
    text: str
    state: str


def kind_of(url: str) -> tuple[str, str]:
    """Return which form a webhook takes, and its address: KIND+https://... says it itself."""
    kind, plus, rest = url.partition("+")
    if plus and kind in KINDS:
        return kind, rest
    host = urlsplit(url).hostname or ""
    if host == "hooks.slack.com":
        return "slack", url
    if host in {"discord.com", "discordapp.com"} or host.endswith(".discord.com"):
        return "discord", url
    if host == "api.telegram.org":
        return "telegram", url
    if host.startswith("ntfy."):
        return "ntfy", url
    return "json", url


def request_for(url: str, alert: Alert) -> urllib.request.Request:
    """Return the request that tells a webhook, in its own form."""
    kind, address = kind_of(url)
    whole = f"{alert.subject}\n{alert.text}".strip()
    whole = whole[: LONGEST.get(kind, len(whole))]
    if kind == "ntfy":
        headers = {
            "Title": Header(alert.subject, "utf-8", maxlinelen=10_000).encode(),
            "Priority": "high" if alert.state == "problem" else "default",
            "Tags": "rotating_light" if alert.state == "problem" else "white_check_mark",
        }
        body = (alert.text or alert.subject).encode()
        return urllib.request.Request(address, body, headers)  # noqa: S310  # checked by run.sh
    fields: dict[str, object] = {"text": whole}
    if kind == "discord":
        fields = {"content": whole, "allowed_mentions": {"parse": []}}
    elif kind == "telegram":
        parts = urlsplit(address)
        fields["chat_id"] = parse_qs(parts.query).get("chat_id", [""])[0]
        address = urlunsplit(parts._replace(query=""))
    elif kind == "json":
        fields |= {"site": alert.site, "subject": alert.subject, "state": alert.state}
    body = json.dumps(fields).encode()
    return urllib.request.Request(address, body, {"Content-Type": "application/json"})  # noqa: S310


def ask(make: Callable[..., urllib.request.Request], *arguments: object) -> str:
    """Send the request that `make` makes, and return the answer, shortly. Raises `OSError`."""
    request = make(*arguments)
    request.add_header("User-Agent", "postdo")
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
            return f"{answer.status} {_short(answer.read(300))}".strip()
    except urllib.error.HTTPError as error:
        with error:
            said = _short(error.read(300))
        raise OSError(f"{error.code} {said}".strip()) from None
    except http.client.HTTPException as error:
        raise OSError(f"no answer of HTTP: {error!r}") from None
    except urllib.error.URLError as error:
        raise OSError(str(error.reason)) from None


def send_mail(url: str, sender: str, recipients: list[str], alert: Alert) -> str:
    """Hand a mail in at the server that EMAIL_URL names. Raises `OSError`."""
    parts = urlsplit(url)
    port, starttls, tls = SCHEMES[parts.scheme]
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    message = EmailMessage()
    message["Subject"] = alert.subject
    message["From"] = sender or (user if "@" in user else f"noreply@{alert.site}")
    message["To"] = ", ".join(recipients)
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=parseaddr(message["From"])[1].partition("@")[2])
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(f"{alert.text or alert.subject}\n")
    host, context = parts.hostname or "", ssl.create_default_context()
    server: smtplib.SMTP
    if tls:
        server = smtplib.SMTP_SSL(host, parts.port or port, timeout=SECONDS, context=context)
    else:
        server = smtplib.SMTP(host, parts.port or port, timeout=SECONDS)
    with server:
        if starttls:
            server.starttls(context=context)
        if user:
            server.login(user, password)
        refused = server.send_message(message)
    if len(refused) == len(recipients):
        raise OSError("no recipient was accepted")
    return f"handed over for {', '.join(sorted(set(recipients) - set(refused)))}"


def name_of(url: str) -> str:
    """Return what may be shown of an address: the rest of it is a secret, mostly."""
    return urlsplit(kind_of(url)[1]).hostname or "?"


def run(text: str) -> int:
    """Do what a request says. Returns the exit code."""
    head, _, body = text.partition("\n\n")
    given = dict(line.split("=", 1) for line in head.splitlines() if "=" in line)
    body = body.strip()
    alert = Alert(given.get("site", ""), given.get("subject", ""), body, given.get("state", ""))
    told = [
        _try(f"{kind_of(url)[0]} {name_of(url)}", partial(ask, request_for, url, alert))
        for url in given.get("webhooks", "").split()
    ]
    recipients = [one for one in given.get("recipients", "").split(",") if one]
    if recipients:
        server, sender = given.get("mail", ""), given.get("sender", "")
        send = partial(send_mail, server, sender, recipients, alert)
        told.append(_try(f"mail {name_of(server)}", send))
    # Who waits for the ping is to notice that nobody could be told.
    for url in given.get("heartbeat", "").split() if not told or any(told) else ():
        _try(f"heartbeat {name_of(url)}", partial(ask, urllib.request.Request, url))
    return 0 if not told or any(told) else 1


def _try(channel: str, send: Callable[[], str]) -> bool:
    try:
        print(f"told={channel}: {send()}", flush=True)
    except (OSError, ValueError, KeyError) as error:
        print(f"failed={channel}: {_short(str(error) or repr(error))}", flush=True)
        return False
    return True


def _short(said: str | bytes) -> str:
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    return " ".join(text.split())[:200]


if __name__ == "__main__":
    sys.exit(run(sys.stdin.read()))
