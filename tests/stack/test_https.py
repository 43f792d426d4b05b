"""Production with DOMAIN: HTTPS by Caddy on its own, and the settings that go with it."""

from __future__ import annotations

import pytest

from .clone import Clone
from .visitor import Visitor

AUTHORITY = "/data/caddy/pki/authorities/local/root.crt"  # for localhost Caddy is its own


@pytest.fixture(scope="module")
def secure(own: Clone) -> Clone:
    """A clone that serves https://localhost/."""
    own.environment["DOMAIN"] = "localhost"
    own.run("-0")
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

    assert answer.status in (301, 308), answer
    assert answer.headers["Location"] == "https://localhost/admin/?page=2"


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
