"""Production with DOMAIN: HTTPS by Caddy on its own, and the settings that go with it."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
from pathlib import Path

import pytest
from shell.fakes import fake_network

from .clone import Clone
from .visitor import Visitor

AUTHORITY = "/data/caddy/pki/authorities/local/root.crt"  # for localhost Caddy is its own


@pytest.fixture(scope="module")
def secure(own: Clone) -> Clone:
    """A clone that serves https://localhost/."""
    own.environment["DOMAIN"] = "localhost"
    own.environment["TRUSTED_PROXIES"] = "127.0.0.1"  # of the proxy's own container
    said = own.run("-0").out
    assert said.index("Get a certificate for localhost") < said.index("Prepare the database")
    return own


def visitor(clone: Clone) -> Visitor:
    """A browser that trusts Caddy's own authority, and nobody else."""
    authority = clone.containers("prod")["proxy"].run("cat", AUTHORITY)
    return Visitor(f"https://localhost:{clone.environment['HTTPS_PORT']}", trust=authority)


def test_the_site_has_a_certificate_and_binds_browsers_to_https(secure: Clone) -> None:
    answer = visitor(secure).get("/")

    assert answer.status == 200, answer
    assert int(answer.headers["Strict-Transport-Security"].removeprefix("max-age=")) > 86400


def test_plain_http_leads_to_https(secure: Clone) -> None:
    answer = secure.visitor("HTTP_PORT").get("/admin/?page=2")

    assert answer.status == 308, answer
    address = f"https://localhost:{secure.environment['HTTPS_PORT']}"
    assert answer.headers["Location"] == f"{address}/admin/?page=2"


def test_what_a_proxy_in_front_got_by_https_is_https(secure: Clone) -> None:
    """It may ask by plain HTTP, and is not sent to HTTPS for ever; nobody else is believed."""
    by_https = ("--header", "Host: localhost", "--header", "X-Forwarded-Proto: https")
    proxy = secure.containers("prod")["proxy"]

    page = proxy.run("wget", "-q", "-O", "-", *by_https, "http://127.0.0.1/admin/login/")

    assert "csrfmiddlewaretoken" in page
    claimed = secure.visitor("HTTP_PORT").get("/admin/login/", X_Forwarded_Proto="https")
    assert claimed.status == 308


def test_status_and_doctor_tell_of_the_certificate(secure: Clone) -> None:
    for command in (("-0", "status"), ("doctor",)):
        said = secure.run(*command).out
        assert "localhost, by Caddy's own authority" in said, said


def test_status_asks_by_https_as_a_visitor_does(secure: Clone) -> None:
    said = secure.run("-0", "status").out

    assert "  visitors   get 200 for /readyz" in said


def test_the_admin_works_with_cookies_that_never_leave_https(secure: Clone) -> None:
    browser, env = visitor(secure), secure.env()

    browser.log_in(env["DJANGO_SUPERUSER_EMAIL"], env["DJANGO_SUPERUSER_PASSWORD"])
    browser.add_user("over-https@example.com")

    assert "over-https@example.com" in browser.get("/admin/accounts/user/").text
    cookies = {cookie.name: cookie.secure for cookie in browser.cookies}
    assert cookies == {"csrftoken": True, "sessionid": True}


def test_djangos_deployment_check_has_no_warning(secure: Clone) -> None:
    checked = secure.run("-0", "manage", "check", "--deploy", "--fail-level", "WARNING")

    assert "no issues" in checked.text


def test_another_name_is_not_served(secure: Clone) -> None:
    """Also past the proxy: Django itself knows its names."""
    web = secure.containers("prod")[secure.live()]
    ask = (
        "import http.client; c = http.client.HTTPConnection('127.0.0.1', 8000);"
        "c.request('GET', '/', headers={'Host': 'evil.example', 'X-Forwarded-Proto': 'https'});"
        "print(c.getresponse().status)"
    )

    assert web.run("python", "-c", ask).strip() == "400"


def test_only_the_proxys_ports_are_published(secure: Clone) -> None:
    published = {
        name: sorted(
            port for port, hosts in one.facts()["NetworkSettings"]["Ports"].items() if hosts
        )
        for name, one in secure.containers("prod", running=True).items()
    }

    assert published.pop("proxy") == ["443/tcp", "443/udp", "80/tcp"]
    assert not any(published.values()), published


def test_the_bare_domain_leads_to_the_one_with_www(secure: Clone, tmp_path: Path) -> None:
    """Each with a certificate of its own, once both lead here, as every other name of DOMAIN does.

    (No DNS knows these names here.)
    """
    name, twin, other = "www.shop.localhost", "shop.localhost", "bookshop.localhost"
    network = fake_network(
        tmp_path / "network", ["127.0.0.1"], {name: ["127.0.0.1"], twin: ["127.0.0.1"]}
    )
    path = os.pathsep.join([str(network), secure.environment["PATH"]])
    secure.run("-0", DOMAIN=f"{name},{other}", PATH=path)

    location = f"https://{name}:{secure.environment['HTTPS_PORT']}/admin/?page=2"
    assert ask(secure, twin, "/admin/?page=2") == (308, location)
    assert ask(secure, other, "/admin/?page=2") == (308, location)
    assert ask(secure, name, "/")[0] == 200
    before = secure.visitor("HTTP_PORT").get("/admin/?page=2", Host="localhost")
    assert before.headers["Location"] == location, "what DOMAIN was before leads to it too"


def test_with_the_certificate_at_a_proxy_in_front_its_word_counts_and_nobody_elses(
    secure: Clone,
) -> None:
    """HTTPS_PORT is empty: all of it comes by plain HTTP."""
    secure.run("-0", HTTPS_PORT="")
    proxy = secure.containers("prod")["proxy"]
    ports = proxy.facts()["NetworkSettings"]["Ports"]
    told = {"Host": "localhost", "X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.7"}
    headers = [word for name in told for word in ("--header", f"{name}: {told[name]}")]

    page = proxy.run("wget", "-q", "-O", "-", *headers, "http://127.0.0.1/admin/login/?front")
    claims = {name.replace("-", "_"): text for name, text in told.items()}
    claimed = secure.visitor("HTTP_PORT").get("/admin/login/?claimed", **claims)

    assert [port for port, hosts in ports.items() if hosts] == ["80/tcp"]
    assert "csrfmiddlewaretoken" in page, "Django takes it for HTTPS, and redirects nowhere"
    assert claimed.status in (301, 308), claimed
    log = secure.containers("prod")[secure.live()].log().splitlines()
    (line,) = (json.loads(line) for line in log if "?front" in line)
    assert line["client"] == "192.0.2.7"
    assert not [line for line in log if "?claimed" in line and "192.0.2.7" in line]


def ask(clone: Clone, name: str, path: str) -> tuple[int, str | None]:
    """Ask by HTTPS for a page of that name; returns status and Location."""
    authority = clone.containers("prod")["proxy"].run("cat", AUTHORITY)
    context = ssl.create_default_context(cadata=authority)
    port = int(clone.environment["HTTPS_PORT"])
    with (
        socket.create_connection(("127.0.0.1", port), 30) as plain,
        context.wrap_socket(plain, server_hostname=name) as client,
    ):
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        answer = http.client.HTTPResponse(client)
        answer.begin()
        return answer.status, answer.getheader("Location")


def test_without_a_certificate_the_site_goes_on_over_plain_http(
    production: Clone, tmp_path: Path
) -> None:
    """An authority that nobody reaches, as behind a firewall."""
    name = "www.shop.example"
    nobody = "acme_ca https://127.0.0.1:1/directory"
    automatic = "auto_https disable_redirects"
    production.replace("proxy/Caddyfile", automatic, f"{automatic}\n\t{nobody}")
    network = fake_network(tmp_path / "network", ["127.0.0.1"], {name: ["127.0.0.1"]})
    path = os.pathsep.join([str(network), production.environment["PATH"]])
    before = production.live()

    failed = production.run("-0", ok=False, DOMAIN=name, PATH=path, START_TIMEOUT="15")

    assert failed.status == 1
    assert f"no certificate for {name}: " in failed.err
    assert "connection refused" in failed.err
    assert production.live() == before
    answer = production.visitor("HTTP_PORT").get("/")
    assert (answer.status, "This site is up." in answer.text) == (200, True), answer
    production.run("-0")  # without the name again
    assert production.visitor("HTTP_PORT").get("/").status == 200
