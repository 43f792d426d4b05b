"""Health check of the web container: `python -I -S healthcheck.py [PATH]`.

Asks the server in this container for PATH (else HEALTH_PATH, else /readyz). Healthy is every
answer below 500: a project without such a page says 404, or 400 to a host that it does not know,
and serves all the same. What the server says with a 5xx goes to standard output, where
`docker inspect` shows it. Exit code 0 healthy, 1 not.
"""

import http.client
import os
import sys

ADDRESS = ("127.0.0.1", 8000)
TIMEOUT_SECONDS = 4  # below the `timeout` of the health check in docker-compose.yml
REASON_CHARACTERS = 300


def main(path: str) -> int:
    """Ask once. Prints one line; returns the exit code."""
    connection = http.client.HTTPConnection(*ADDRESS, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", path, headers={"Host": "localhost", "Connection": "close"})
        answer = connection.getresponse()
        reason = answer.read(REASON_CHARACTERS).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        print(f"no answer for {path} on port {ADDRESS[1]}: {error}")
        return 1
    finally:
        connection.close()
    if answer.status < http.client.INTERNAL_SERVER_ERROR:
        print(f"{answer.status} for {path}")
        return 0
    print(f"{answer.status} for {path}: {' '.join(reason.split())}")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("HEALTH_PATH") or "/readyz"))
