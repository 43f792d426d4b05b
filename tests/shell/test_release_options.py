"""Options, ports, images from elsewhere, dry runs and certificates of a release."""

from __future__ import annotations

import pytest

from .production import (
    BUILD,
    NOTED,
    NUMBERED,
    PREPARED,
    PROXY_TAGGED,
    STOPPED,
    UP,
    WAIT,
    Production,
    around,
)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--approve"], "needs the checksum"),
        (["--approve", "--no-build"], "needs the checksum"),
        (["--aprove", "x"], "unknown argument '--aprove'"),
        (["--no-build", "--approve", "x"], "cannot be combined"),
        (["--concurrently", "--no-build"], "cannot be combined"),
        (["--dry-run", "--no-build"], "cannot be combined"),
        (["--approve", "x", "--dry-run"], "cannot be combined"),
    ],
)
def test_what_it_does_not_know_is_refused_before_anything(
    production: Production, arguments: list[str], says: str
) -> None:
    done = production.run(*arguments)

    assert (done.status, done.calls) == (2, [])
    assert says in done.err


@pytest.mark.parametrize(
    ("arguments", "inherited", "options"),
    [
        ([], {}, " "),
        ([], {"POSTDO_APPROVE": "theirs", "POSTDO_CONCURRENTLY": "theirs"}, " "),
        (["--approve", "abc"], {}, "abc "),
        (["--approve", "abc"], {"POSTDO_APPROVE": "theirs"}, "abc "),
        (["--concurrently"], {}, " 1"),
        (["--concurrently", "--approve", "abc"], {}, "abc 1"),
    ],
)
def test_the_options_alone_reach_the_preparation(
    production: Production, arguments: list[str], inherited: dict[str, str], options: str
) -> None:
    done = production.run(*arguments, **inherited)

    assert done.status == 0
    assert (production.folder / "options").read_text() == options


TAKEN = "docker tag registry/shop:2 shop-web:next"


@pytest.mark.parametrize("here", [True, False])
def test_an_image_that_was_built_elsewhere_is_released_without_a_build(
    production: Production, here: bool
) -> None:
    missing = "" if here else "docker image inspect registry/shop:2"
    done = production.run(IMAGE="registry/shop:2", FAILS=missing)

    assert (done.status, done.err) == (0, "")
    assert not any(call.startswith("build_image") for call in done.calls)
    assert done.calls.index(TAKEN) < done.calls.index("start_database prod")
    assert ("docker pull --quiet registry/shop:2" in done.calls) is not here
    # Only what this run has downloaded: the other one is somebody's.
    assert ("docker image rm registry/shop:2" in done.calls) is not here
    record = production.record(1)
    facts = {"version": "2.0", "revision": "def", "from": "registry/shop:2", "outcome": "live"}
    assert {key: record[key] for key in facts} == facts


@pytest.mark.parametrize(
    ("label", "fails", "says"),
    [
        ("", "", "is not a production image of this kit"),
        ("production", "docker *registry/shop:2", "not be downloaded"),
    ],
)
def test_another_image_is_not_released(
    production: Production, label: str, fails: str, says: str
) -> None:
    production.serves("blue")
    done = production.run(IMAGE="registry/shop:2", LABEL=label, FAILS=fails)

    assert done.status == 1
    assert says in done.err
    assert TAKEN not in done.calls
    assert "start_database prod" not in done.calls


def test_a_dry_run_names_the_image_and_takes_nothing(production: Production) -> None:
    production.serves("blue")
    done = production.run("--dry-run", IMAGE="registry/shop:2", WATCH_SECONDS="0")

    assert "image       registry/shop:2, downloaded if it is not here\n" in done.out
    assert "does not have" not in done.out
    assert not any(call.startswith(("docker pull", "docker tag")) for call in done.calls)


@pytest.mark.parametrize("script", ["production", "deploy"])
def test_a_dry_run_tells_each_step_and_does_nothing(production: Production, script: str) -> None:
    production.serves("blue")
    production.released("live", "failed", "live", "live")
    for number, seconds in ((1, 40), (2, 600), (3, 12), (4, 14)):
        with (production.folder / f"releases/{number}").open("a") as record:
            record.write(f"seconds={seconds}\nrevision=abc\n")
    production.has_migrations(4, "auth.0001_initial", "shop.0001_initial")
    with (production.folder / "releases/4").open("a") as record:
        record.write("file=shop.0001_initial\nfile=api.0001_initial\n")  # of a part that is off
    (production.folder / "migration-files").write_text(
        "shop.0003_c\nshop.0001_initial\napi.0001_initial\nshop.0002_b\n"
    )
    before = production.files()
    done = production.run(
        "--dry-run",
        SCRIPT=script,
        SERVES="blue",
        IMAGES="1 3 4",
        PLANNED="replace",
        NOTED=f"{NOTED} tell_restart",
        LIBRARIES="restarts",
        WATCH_SECONDS="30",
        DRAIN_SECONDS="20",
        SMOKE_PATHS="/ /shop/=200",
    )

    assert (done.status, done.err) == (0, "")
    for line in (
        "web/ at 1.5; v4 is serving",
        ".env or a Compose file has changed",
        "get the image and rehearse them: sh run.sh plan",
        "does not have: shop.0002_b shop.0003_c\n",
        "start       web-green\n",
        "smoke test  / /shop/=200\n",
        "watch       30 s, beside web-blue\n",
        "at most 20 s",
        "about 14 s from the built image to the switch (the last releases: 14 12 40)\n",
    ):
        assert line in done.out
    assert [
        call for call in done.calls if not call.startswith(("require_", "docker image in"))
    ] == [
        "read_environment",
        "export_compose_facts",
        "tell_restart db",
        "tell_restart proxy",
    ]
    assert production.files() == before
    assert production.live == "web-blue"


def test_a_dry_run_before_the_first_release(production: Production) -> None:
    done = production.run("--dry-run", WATCH_SECONDS="30")

    assert (done.status, done.err) == (0, "")
    assert "web/ at 1.5, for the first release" in done.out
    assert "smoke test  /readyz / /admin/login/\n" in done.out
    assert "not known before the first release" in done.out
    assert not any(word in done.out for word in ("watch ", "drain ", "does not have"))


def test_a_dry_run_finds_the_migrations_of_the_project(production: Production) -> None:
    done = production.run(MAIN="migration_files")

    assert "accounts.0001_initial\n" in done.out
    assert "__init__" not in done.out


def test_a_dry_run_of_what_serves_says_so(production: Production) -> None:
    production.serves("blue")
    production.released("live")
    (production.folder / "releases/1").write_text("version=1.5\nimage=sha256:1\noutcome=live\n")
    production.has_migrations(1, "shop.0001_initial")
    (production.folder / "migration-files").write_text("shop.0001_initial\n")
    done = production.run("--dry-run", SERVES="blue", IMAGES="1")

    assert "web/ at 1.5, which is serving" in done.out
    assert "does not have: none\n" in done.out


@pytest.mark.parametrize(
    ("variables", "ports"),
    [
        ({}, ["HTTP_PORT"]),
        ({"DOMAIN": "shop.example"}, ["HTTP_PORT", "HTTPS_PORT"]),
        ({"DOMAIN": "shop.example", "HTTPS_PORT": ""}, ["HTTP_PORT"]),
        ({"PROD_DB_PORT": "5440"}, ["HTTP_PORT", "PROD_DB_PORT"]),
    ],
)
def test_every_port_that_is_used_is_looked_at_first(
    production: Production, variables: dict[str, str], ports: list[str]
) -> None:
    done = production.run(**variables)

    assert [call for call in done.calls if call.startswith("require_port")] == [
        f"require_port {port} prod" for port in ports
    ]


CERTIFIED = [
    PROXY_TAGGED,
    f"{UP} {WAIT} proxy",
    *around()[1:],
    "wait_until 9 has_certificate shop.example",
]
SECURED = "note_name shop.example"


def test_a_domain_gets_its_certificate_before_the_release_and_leads_to_https_after_it(
    production: Production,
) -> None:
    done = production.run(DOMAIN="shop.example")

    assert (done.status, done.err) == (0, "")
    assert done.calls[8:11] == [
        "require_port HTTPS_PORT prod",
        "require_domain_leads_here",
        "note_twin",
    ]
    at = done.calls.index(BUILD[-1]) + 1
    assert done.calls[at : at + len(CERTIFIED) + 2] == [*CERTIFIED, NUMBERED, PREPARED[0]]
    assert done.calls[-len(around()) - 2 :] == [*around(), SECURED, "get_other_certificates"]
    assert (production.folder / "live/https-shop.example").exists()


def test_a_domain_that_has_its_certificate_waits_for_none(production: Production) -> None:
    (production.folder / "certificate-shop.example").touch()
    done = production.run(DOMAIN="shop.example")

    assert CERTIFIED[-1] not in done.calls
    assert (production.folder / "live/https-shop.example").exists()


def test_a_domain_without_a_certificate_is_not_led_to_https(production: Production) -> None:
    done = production.run(MAIN="lead_to_https", DOMAIN="shop.example")

    assert (done.status, done.calls) == (0, [])


def test_a_domain_whose_certificate_is_in_front_asks_for_none_and_leads_nowhere(
    production: Production,
) -> None:
    production.serves("blue")
    (production.folder / "live/https-shop.example").touch()  # from before, of its own certificate
    done = production.run(DOMAIN="shop.example", HTTPS_PORT="")

    assert (done.status, done.err) == (0, "")
    asked = ("wait_until", "require_domain_leads_here", "note_", "get_other_certificates")
    assert not [call for call in done.calls if call.startswith(asked)]
    assert not (production.folder / "live/https-shop.example").exists()
    assert "plain HTTP" not in done.out


def test_without_a_domain_nothing_is_led_to_https(production: Production) -> None:
    production.run()

    assert [
        path.name
        for path in (production.folder / "live").iterdir()
        if path.name.startswith("https-")
    ] == []


@pytest.mark.parametrize("failing", [CERTIFIED[1], CERTIFIED[-1]])
@pytest.mark.parametrize("proxy", ["healthy", "stopped"])
def test_without_a_certificate_nothing_is_released(
    production: Production, proxy: str, failing: str
) -> None:
    production.serves("blue", proxy=proxy)
    done = production.run(DOMAIN="shop.example", FAILS=failing)

    assert done.status == 1
    assert PREPARED[0] not in done.calls
    assert ("compose prod stop proxy web-blue web-green" in done.calls) is (proxy == "stopped")
    assert not set(STOPPED) & set(done.calls), "the database was running"
    if failing == CERTIFIED[-1]:
        assert "shop.example: the reason" in done.err
        assert "next: the remedy; to serve without HTTPS, leave DOMAIN empty" in done.err


def test_what_was_started_for_a_certificate_stays_where_nothing_has_changed(
    production: Production,
) -> None:
    production.serves("blue", proxy="stopped")
    done = production.run(DOMAIN="shop.example", HAS_IMAGE="web-blue shop-web:next")

    assert done.status == 0
    assert "compose prod stop proxy web-blue web-green" not in done.calls


def test_a_site_that_has_its_certificate_and_was_switched_is_not_stopped_any_more(
    production: Production,
) -> None:
    done = production.run(DOMAIN="shop.example", FAILS=f"{UP} {WAIT} db proxy")

    assert done.status == 1
    assert production.live == "web-blue"
    assert done.calls[-1].startswith("explain_unhealthy ")
