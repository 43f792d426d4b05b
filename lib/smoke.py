"""Smoke test of a version that nobody is served by yet: `python -I -S - HOST SCHEME LIMIT PATH...`.

`run.sh` feeds this to the Python of the new version's container, which may be of an older kit. It
asks the server there for each PATH as a visitor of SCHEME://HOST would. A PATH is one of

    /shop/             has to be answered with a status below LIMIT
    /shop/=200         with this status
    /shop/=200:Basket  with this status, and this text in the page (%20 is a space)
    /?q=a=200          the same behind a query, whose last =NNN is the status

Prints a line for each; exit code 0 if all are answered so, 1 if not.
"""

from __future__ import annotations

import http.client
import os
import re
import string
import sys
from typing import NamedTuple
from urllib.parse import quote, unquote

PORT = 8000
CHARACTERS = 200  # of an error's page, in the line about it
UNKNOWN_HOST = 400
ITEM = re.compile(r"(?P<path>/[^=?]*(?:\?.*?)?)(?:=(?P<status>[1-5]\d\d)(?::(?P<text>.+))?)?")


class Item(NamedTuple):
    """One thing to ask, and what is expected."""

    path: str
    status: int  # 0: any below the limit
    text: str


def main(host: str, scheme: str, limit: int, items: list[str]) -> int:
    """Ask for each item. Returns the exit code."""
    failed = False
    for item in map(parsed, items):
        wrong = ask(host, scheme, limit, item)
        failed = failed or bool(wrong)
        print(f"{item.path}: {wrong or 'as expected'}")
    return int(failed)


def parsed(text: str) -> Item:
    """An item as it is written in SMOKE_PATHS, which run.sh has checked."""
    found = ITEM.fullmatch(text)
    if found is None:
        sys.exit(f"{text} is not /PATH, /PATH=STATUS or /PATH=STATUS:TEXT")
    path, status, part = found.groups(default="")
    return Item(path, int(status or 0), unquote(part))


def ask(host: str, scheme: str, limit: int, item: Item) -> str:
    """What is wrong with the answer; empty if nothing is."""
    # The certificate is the proxy's, so this is plain HTTP from a place that the server believes.
    headers = {"Host": host, "X-Forwarded-Proto": scheme, "Connection": "close"}
    seconds = float(os.environ.get("WEB_TIMEOUT") or 30)
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=seconds)
    try:
        # As a browser sends what is not ASCII.
        connection.request("GET", quote(item.path, safe=string.punctuation), headers=headers)
        answer = connection.getresponse()
        page = answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return f"no answer: {error}"
    finally:
        connection.close()
    if answer.status != item.status if item.status else answer.status >= limit:
        expected = str(item.status) if item.status else f"a status below {limit}"
        shown = " ".join(page.split())[:CHARACTERS]
        # What Django says to a name that is not one of the site's.
        asked = f" (asked as {host}; see ALLOWED_HOSTS)" if answer.status == UNKNOWN_HOST else ""
        return f"answered {answer.status}, expected {expected}{asked}: {shown}"
    if item.text not in page:
        return f"answered {answer.status}, but the page does not contain {item.text!r}"
    return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]))
