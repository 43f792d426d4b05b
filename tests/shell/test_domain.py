"""DOMAIN: does the name lead here, and is there a certificate? Before anything is changed."""

from __future__ import annotations

import ipaddress
import subprocess
from pathlib import Path

import pytest
from waiting import until

from .fakes import FAKE_CERTIFICATE, FakeDocker, fake_network
from .machine import PROJECT, Clone, Toolbox

HERE = "203.0.113.5"
NAME = "www.shop.example"


@pytest.fixture
def site(dash_clone: Clone, docker: FakeDocker) -> Clone:
    """A clone whose production is to have a name; a fake docker that has no certificate."""
    dash_clone.environment["DOMAIN"] = NAME
    return dash_clone


def nothing_was_started(docker: FakeDocker) -> bool:
    """Whether no container was touched, and no image built."""
    return not any(call.split()[0] in ("up", "build", "run") for call in docker.compose_calls())


@pytest.mark.parametrize(
    ("addresses", "told"),
    [
        ([], "does not resolve to any address"),
        (
            ["198.51.100.9"],
            "resolves to 198.51.100.9, but this machine is 203.0.113.5, 2001:db8::5",
        ),
        (["2001:db8::9"], "resolves to 2001:db8::9, but this machine is"),
        (["203.0.113.55"], "resolves to 203.0.113.55, but this machine is"),
    ],
)
def test_a_name_that_leads_elsewhere_is_refused_before_anything_with_a_fake_network(
    site: Clone, docker: FakeDocker, tmp_path: Path, addresses: list[str], told: str
) -> None:
    own = ["127.0.0.1", "10.0.0.4", "172.17.0.1", HERE, "2001:db8::5", "fe80::1"]
    site.first.append(fake_network(tmp_path / "network", own, {NAME: addresses}))

    site.run("-0").assert_refused(told, "sh run.sh -0")

    assert nothing_was_started(docker)


OTHER = "shop.test"


def test_each_of_several_names_must_lead_here_with_a_fake_network(
    site: Clone, docker: FakeDocker, tmp_path: Path
) -> None:
    site.environment["DOMAIN"] = f"{NAME},{OTHER}"
    there = {NAME: [HERE], OTHER: ["198.51.100.9"]}
    site.first.append(fake_network(tmp_path / "network", [HERE], there))

    site.run("-0").assert_refused(
        f"{OTHER} (DOMAIN in .env) resolves to 198.51.100.9, but this machine is {HERE}",
        "A and AAAA records",
    )

    assert nothing_was_started(docker)


def test_the_first_of_several_names_is_the_sites_and_the_others_lead_to_it_with_a_fake_network(
    site: Clone, docker: FakeDocker, tmp_path: Path
) -> None:
    """One that has no certificate is told of, and keeps no version from serving."""
    site.environment |= {"DOMAIN": f"{NAME},{OTHER.upper()}", "START_TIMEOUT": "1"}
    site.first.append(
        fake_network(tmp_path / "network", [HERE], {NAME: [HERE], OTHER: [HERE]}),
    )
    docker.answer(f"*exec id-proxy * {NAME}", out=FAKE_CERTIFICATE)
    docker.has_container("proxy")
    site.add_command("facts", TELL_FACTS)

    result = site.run("-0")
    facts = dict(line.split("=", 1) for line in site.run("facts").out.splitlines())

    address = f"https://{NAME}:{site.environment['HTTPS_PORT']}"
    assert result.status == 0
    assert f"site   {address}/" in result.out
    assert f"{OTHER} has no certificate" in result.err
    assert f"{NAME} has no certificate" not in result.err
    assert facts["SITE_ADDRESS"] == f":80, https://{NAME}, https://{OTHER}"
    assert facts["SITE_URL"] == address
    # Until the proxy redirects the others, the site gets their requests too.
    assert facts["ALLOWED_HOSTS"].endswith(f",{NAME},shop.test")
    assert "certificate shop.test has none yet" in " ".join(site.run("-0", "status").out.split())


@pytest.mark.parametrize("addresses", [[HERE], ["198.51.100.9", HERE], ["2001:db8::5"]])
def test_a_name_that_leads_here_is_taken_with_a_fake_network(
    site: Clone, docker: FakeDocker, tmp_path: Path, addresses: list[str]
) -> None:
    site.first.append(fake_network(tmp_path / "network", [HERE, "2001:db8::5"], {NAME: addresses}))
    docker.answer("*exec id-proxy *", out=FAKE_CERTIFICATE)
    docker.has_container("proxy")

    site.run("-0").assert_ok()


def test_behind_a_router_it_cannot_be_told_with_a_fake_network(
    site: Clone, docker: FakeDocker, tmp_path: Path
) -> None:
    """Private addresses alone: the name's may be the router's. The certificate decides."""
    own = ["127.0.0.1", "192.168.0.4", "172.17.0.1", "100.64.0.9", "fe80::1", "fd00::1"]
    site.first.append(fake_network(tmp_path / "network", own, {NAME: ["198.51.100.9"]}))
    site.environment["START_TIMEOUT"] = "1"

    result = site.run("-0")

    assert "only private addresses" in result.err
    result.assert_refused("no certificate for www.shop.example", "ports 80 and 443")


@pytest.mark.parametrize(
    "switched", ["DOMAIN_CHECK", "TRUSTED_PROXIES", "certificate", "stopped", "localhost"]
)
def test_what_is_not_compared_with_a_fake_network(
    site: Clone, docker: FakeDocker, tmp_path: Path, switched: str
) -> None:
    """A machine behind a CDN, in two ways; a name that has its certificate, or had it before the
    site was stopped; one that needs no authority."""
    site.first.append(fake_network(tmp_path / "network", [HERE], {}))
    site.environment["START_TIMEOUT"] = "1"
    if switched == "DOMAIN_CHECK":
        site.environment["DOMAIN_CHECK"] = "off"
    if switched == "TRUSTED_PROXIES":
        site.environment["TRUSTED_PROXIES"] = "cloudflare"
    if switched == "certificate":
        docker.answer("*exec id-proxy *", out=FAKE_CERTIFICATE)
        docker.has_container("proxy")
    if switched == "stopped":
        folder = site.state / "live" / site.environment["PROJECT_NAME"]
        folder.mkdir(parents=True)
        (folder / f"https-{NAME}").touch()
        docker.has_container("proxy", "stopped")
    if switched == "localhost":
        site.environment["DOMAIN"] = "shop.localhost"

    result = site.run("-0")

    assert "does not resolve" not in result.err
    assert not nothing_was_started(docker)


TELL_FACTS = """
main() {
    MODE=prod
    read_environment
    export_compose_facts
    printf 'FRONT_NAMES=%s\\n' "$FRONT_NAMES"
    env | grep -E '^(SITE_ADDRESS|SITE_URL|TRUSTED_RANGES|ALLOWED_HOSTS|CSRF_TRUSTED_ORIGINS)='
}
"""


def test_a_certificate_in_front_leaves_plain_http_and_the_name_with_a_fake_network(
    site: Clone, docker: FakeDocker, tmp_path: Path
) -> None:
    """Nothing of HTTPS is served, noted or waited for; the site still is that name's, by HTTPS."""
    site.environment |= {"HTTPS_PORT": "", "TRUSTED_PROXIES": "10.0.0.7,private,2001:db8::/48"}
    site.environment["DOMAIN"] = f"{NAME},a.example,b.example"
    site.first.append(fake_network(tmp_path / "network", [HERE], {}))
    site.add_command("facts", TELL_FACTS)
    docker.has_container("proxy")

    result = site.run("-0")
    facts = dict(line.split("=", 1) for line in site.run("facts").out.splitlines())

    result.assert_ok()
    assert f"site   https://{NAME}/" in result.out
    assert not any("docker-compose.https.yml" in call for call in docker.calls())
    assert facts["SITE_ADDRESS"] == ":80"
    assert (facts["SITE_URL"], facts["FRONT_NAMES"]) == (f"https://{NAME}", "a.example b.example")
    assert facts["TRUSTED_RANGES"] == "10.0.0.7 private_ranges 2001:db8::/48"
    assert facts["ALLOWED_HOSTS"].endswith(f",{NAME},a.example,b.example")
    assert facts["CSRF_TRUSTED_ORIGINS"] == f"https://{NAME}"
    site.environment["TRUSTED_PROXIES"] = "cloudflare"
    ranges = site.run("facts").out.split("TRUSTED_RANGES=")[1].splitlines()[0].split(" ")
    assert len(ranges) > 20
    assert all(ipaddress.ip_network(one) for one in ranges)


@pytest.mark.parametrize(
    ("trusted", "address", "warned"),
    [
        ("cloudflare,private", "2001:db8::5", True),
        ("private", "fd00::1", False),
        ("10.0.0.7", "2001:db8::5", False),
    ],
)
def test_private_proxies_are_warned_of_where_visitors_come_by_ipv6_with_a_fake_network(
    site: Clone, docker: FakeDocker, tmp_path: Path, *, trusted: str, address: str, warned: bool
) -> None:
    """Docker hands them on from its own network."""
    own = ["127.0.0.1", HERE, address]
    site.environment |= {"DOMAIN": "", "TRUSTED_PROXIES": trusted}
    site.first.append(fake_network(tmp_path / "network", own, {}))

    result = site.run("-0")

    assert result.status == 0
    assert ("also trusts visitors who reach this machine by IPv6" in result.err) is warned


def test_without_a_certificate_no_release_takes_over_with_a_fake_network(
    site: Clone, docker: FakeDocker, tmp_path: Path
) -> None:
    """The old version goes on, over plain HTTP, and Caddy's reason is shown."""
    site.first.append(fake_network(tmp_path / "network", [HERE], {NAME: [HERE]}))
    site.environment["START_TIMEOUT"] = "1"
    for service in ("proxy", "web-blue", "db"):
        docker.has_container(service)
    folder = site.state / "live" / site.environment["PROJECT_NAME"]
    folder.mkdir(parents=True)
    (folder / "upstream").write_text("web-blue")
    line = (
        '{"level":"error","ts":1,"logger":"tls.obtain","msg":"could not get certificate from'
        ' issuer","identifier":"www.shop.example","error":"HTTP 403: \\"DNS problem\\"",'
        '"issuer":"acme-v02.api.letsencrypt.org-directory"}'
    )
    docker.answer("logs * id-proxy", out=line)

    result = site.run("-0")

    result.assert_refused('no certificate for www.shop.example: HTTP 403: "DNS problem"', "80")
    assert "The previous version is still serving." in result.err
    assert (folder / "upstream").read_text() == "web-blue"
    assert list(folder.glob("https-*")) == []
    assert not any("web-green" in call or " web " in call for call in docker.compose_calls())


def test_a_proxy_started_for_a_certificate_stays_when_nothing_changed_with_a_fake_network(
    site: Clone, docker: FakeDocker, tmp_path: Path
) -> None:
    """The proxy was stopped, and its certificate came with its start: the site is up after it."""
    site.first.append(fake_network(tmp_path / "network", [HERE], {NAME: [HERE]}))
    for service in ("web-blue", "db"):
        docker.has_container(service)
    docker.has_container("proxy", "stopped")
    docker.answer("compose * --dry-run *", out=" Container Running")
    folder = site.state / "live" / site.environment["PROJECT_NAME"]
    folder.mkdir(parents=True)
    (folder / "upstream").write_text("web-blue")

    with site.start("-0") as run:
        until(lambda: any(" proxy" in call for call in started(docker)), "the proxy is started")
        docker.answer("*exec id-proxy *", out=FAKE_CERTIFICATE)
        said, _ = run.communicate(timeout=60)

    assert run.returncode == 0, said
    assert "Already up to date: blue is serving this version" in said
    assert not any(call.startswith("stop ") for call in docker.compose_calls())


def started(docker: FakeDocker) -> list[str]:
    """What Compose was told to start."""
    calls = docker.compose_calls()
    return [call for call in calls if call.startswith("up ") and "--dry-run" not in call]


@pytest.mark.parametrize(
    ("domain", "twin"),
    [("www.shop.example", "shop.example"), ("shop.example", "www.shop.example")],
)
def test_the_other_name_is_served_once_it_leads_here_with_a_fake_network(
    site: Clone, docker: FakeDocker, tmp_path: Path, domain: str, twin: str
) -> None:
    site.environment["DOMAIN"] = domain
    site.first.append(fake_network(tmp_path / "network", [HERE], {domain: [HERE], twin: [HERE]}))
    docker.answer("*exec id-proxy *", out=FAKE_CERTIFICATE)
    docker.has_container("proxy")

    site.run("-0").assert_ok()

    folder = site.state / "live" / site.environment["PROJECT_NAME"]
    assert set((folder / "names").read_text().split()) == {domain, twin}
    assert (folder / f"https-{domain}").exists()


def test_a_name_in_upper_case_has_its_certificate_with_a_fake_network(
    site: Clone, docker: FakeDocker, tmp_path: Path
) -> None:
    """Caddy keeps it under the name in lower case; and names noted before are no second ones."""
    site.environment["DOMAIN"] = "WWW.Shop.Example"
    site.environment["START_TIMEOUT"] = "1"
    site.first.append(fake_network(tmp_path / "network", [HERE], {NAME: [HERE]}))
    docker.answer(f"*exec id-proxy * {NAME}", out=FAKE_CERTIFICATE)
    docker.has_container("proxy")
    folder = site.state / "live" / site.environment["PROJECT_NAME"]
    folder.mkdir(parents=True)
    (folder / "names").write_text("Shop.Example\n")
    site.add_command("tell", "main() { read_environment && served_names; }")

    site.run("-0").assert_ok()

    assert (folder / f"https-{NAME}").exists()
    assert site.run("tell").out.split() == [NAME, "shop.example"]


def test_status_tells_of_the_certificate_with_a_fake_docker(
    site: Clone, docker: FakeDocker
) -> None:
    docker.answer("*exec id-proxy *", out=FAKE_CERTIFICATE)
    docker.has_container("proxy")

    out = site.run("-0", "status").out

    assert "www.shop.example, by " in out
    assert "days left" in out


@pytest.mark.parametrize(
    ("today", "left"),
    [("20261129", "36500"), ("21261104", "1"), ("21261105", "0"), ("21261106", "-1")],
)
def test_the_days_of_a_certificate_are_read_by_every_awk(
    toolbox: Toolbox, today: str, left: str
) -> None:
    read = "sed '/-----/d' | base64 -d | od -An -v -tx1 | tr -d ' \\n'"
    digits = subprocess.run(
        ["sh", "-c", read], input=FAKE_CERTIFICATE.encode(), capture_output=True, check=True
    ).stdout
    for awk in toolbox.awks().values():
        program = ["-v", f"TODAY={today}", "-f", str(PROJECT / "lib/certificate.awk")]
        done = subprocess.run([awk, *program], input=digits, capture_output=True, check=True)
        assert done.stdout.decode().strip() == left, awk
