"""Health check of the web container: `python -I -S healthcheck.py [PATH [HOST PORT [NAME]]]`.

Asks the server in this container for PATH (else HEALTH_PATH, else /readyz). Healthy is every
answer below 500: a project without such a page says 404, or 400 to a host that it does not know,
and serves all the same. What the server says with a 5xx goes to standard output, where
`docker inspect` shows it. Exit code 0 healthy, 1 not.

`run.sh status` asks the proxy by HOST and PORT, as a visitor does; NAME: by HTTPS, for that domain.
"""

import http.client
import os
import socket
import ssl
import sys

ADDRESS = ("127.0.0.1", 8000)
TIMEOUT_SECONDS = 4  # below the `timeout` of the health check in docker-compose.yml
REASON_CHARACTERS = 300
# A certificate whose issuer is not known here (OpenSSL's X509_V_ERR_*): one's own authority, which
# visitors may know. What is expired or for another name is ill for everybody.
UNKNOWN_ISSUER = (18, 19, 20, 21)


def main(path: str, address: tuple[str, int], name: str) -> int:
    """Ask once. Prints one line, which begins with the answer's number; returns the exit code.

    `run.sh status` reads that number and nothing else of it.
    """
    connection = http.client.HTTPConnection(*address, timeout=TIMEOUT_SECONDS)
    try:
        connection.connect()
        if name:
            connection.sock = encrypted(connection.sock, address, name)
        headers = {"Host": name or "localhost", "Connection": "close"}
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        reason = answer.read(REASON_CHARACTERS).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        print(f"no answer for {path} on port {address[1]}: {error}")
        return 1
    finally:
        connection.close()
    if answer.status < http.client.INTERNAL_SERVER_ERROR:
        print(f"{answer.status} for {path}")
        return 0
    print(f"{answer.status} for {path}: {' '.join(reason.split())}")
    return 1


def encrypted(plain: socket.socket, address: tuple[str, int], name: str) -> ssl.SSLSocket:
    """The connection with TLS for a domain. Raises OSError where a browser would show an error."""
    context = ssl.create_default_context()
    try:
        return context.wrap_socket(plain, server_hostname=name)
    except ssl.SSLCertVerificationError as error:
        if error.verify_code not in UNKNOWN_ISSUER:
            raise
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    again = socket.create_connection(address, timeout=TIMEOUT_SECONDS)
    return context.wrap_socket(again, server_hostname=name)


if __name__ == "__main__":
    given = [*sys.argv[1:], "", "", "", ""]
    asked = given[0] or os.environ.get("HEALTH_PATH") or "/readyz"
    sys.exit(main(asked, (given[1], int(given[2])) if given[1] else ADDRESS, given[3]))
