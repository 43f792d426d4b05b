""".env: written once, by whoever is first, and never touched again; and how it is read."""

from __future__ import annotations

import contextlib
import json
import re
import stat
import subprocess

import pytest

from .fakes import FakeDocker
from .machine import PATIENCE, Clone, Toolbox

SECRETS = (
    "SECRET_KEY",
    "POSTGRES_PASSWORD",
    "DJANGO_SUPERUSER_PASSWORD",
    "PGADMIN_DEFAULT_PASSWORD",
)
TELL = 'main() { prepare_environment; for key in "$@"; do eval "say \\"\\$$key\\""; done; }'


def test_the_first_start_writes_env_for_its_owner_alone(clone: Clone) -> None:
    clone.first_start()
    mode = stat.S_IMODE((clone.root / ".env").stat().st_mode)
    assert mode == 0o600
    assert list(clone.root.glob(".env.new*")) == []


@pytest.mark.every_shell
def test_the_secrets_are_random_and_of_harmless_characters(clone: Clone) -> None:
    first = clone.first_start()
    (clone.root / ".env").unlink()
    second = clone.first_start()
    found = [env[key] for env in (first, second) for key in SECRETS]
    assert len(set(found)) == len(found), "a secret came twice"
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{24,}", secret) for secret in found)
    assert len(first["SECRET_KEY"]) == 64
    assert len(set("".join(found))) > 50, "characters are missing that should be there"


def test_env_keeps_the_comments_and_the_order_of_the_example(clone: Clone) -> None:
    clone.first_start()
    example = (clone.root / ".env.example").read_text().splitlines()
    written = (clone.root / ".env").read_text().splitlines()
    assert len(written) == len(example)
    filled = {*SECRETS, "ALLOWED_HOSTS"}
    for before, after in zip(example, written, strict=True):
        assert after.startswith(before) if before.split("=")[0] in filled else after == before


def test_env_is_never_overwritten(clone: Clone) -> None:
    clone.first_start()
    path = clone.root / ".env"
    before = (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino)
    clone.run("stop")
    clone.run("init")
    assert (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) == before


@pytest.mark.every_shell
def test_two_first_starts_at_once_agree_on_one_env(clone: Clone) -> None:
    clone.add_command("tell", TELL)
    with contextlib.ExitStack() as stack:
        runs = [stack.enter_context(clone.start("tell", *SECRETS)) for _ in range(4)]
        said = [run.communicate(timeout=PATIENCE)[0].splitlines() for run in runs]
    assert [run.returncode for run in runs] == [0] * len(runs), said
    assert sum("wrote .env" in lines[0] for lines in said) == 1, said
    env = clone.env()
    assert {tuple(lines[-4:]) for lines in said} == {tuple(env[key] for key in SECRETS)}
    assert list(clone.root.glob(".env.new*")) == []


@pytest.mark.every_shell
def test_the_environment_overrides_the_file(clone: Clone) -> None:
    clone.add_command("tell", TELL)
    clone.first_start()
    clone.set_in_env(TIME_ZONE="Europe/Paris", LOG_LEVEL="nonsense")
    told = clone.run("tell", "TIME_ZONE", "LOG_LEVEL", LOG_LEVEL="DEBUG").assert_ok()
    assert told.out == "Europe/Paris\nDEBUG\n"
    told = clone.run("tell", "TIME_ZONE", TIME_ZONE="", LOG_LEVEL="INFO").assert_ok()
    assert told.out == "\n", "an empty variable is set too"


def test_a_key_that_env_lacks_has_the_default_of_the_example(clone: Clone) -> None:
    clone.add_command("tell", TELL)
    clone.first_start()
    path = clone.root / ".env"
    path.write_text("".join(f"{key}={clone.env()[key]}\n" for key in SECRETS))
    told = clone.run("tell", "WEB_TIMEOUT", "DJANGO_SUPERUSER_EMAIL", "DOMAIN").assert_ok()
    assert told.out == "30\nadmin@example.com\n\n"


def test_a_new_site_has_postgresql_18_and_a_file_that_names_none_has_that_of_its_volumes(
    dash_clone: Clone,
) -> None:
    dash_clone.add_command("tell", TELL)
    assert dash_clone.first_start()["POSTGRES_IMAGE"] == "postgres:18"
    assert dash_clone.run("tell", "POSTGRES_IMAGE").assert_ok().out == "postgres:18\n"

    path = dash_clone.root / ".env"
    path.write_text(re.sub("(?m)^POSTGRES_IMAGE=.*\n", "", path.read_text()))

    assert dash_clone.run("tell", "POSTGRES_IMAGE").assert_ok().out == "postgres:17\n"
    told = dash_clone.run("tell", "POSTGRES_IMAGE", POSTGRES_IMAGE="postgres:16").assert_ok()
    assert told.out == "postgres:16\n", "the environment counts more"


def test_of_two_lines_with_the_same_key_the_last_counts(clone: Clone) -> None:
    clone.add_command("tell", TELL)
    clone.first_start()
    with (clone.root / ".env").open("a") as file:
        file.write("TIME_ZONE=Asia/Tokyo\nTIME_ZONE=Asia/Seoul\n")
    assert clone.run("tell", "TIME_ZONE").assert_ok().out == "Asia/Seoul\n"


def test_an_unknown_key_is_named_with_its_line_and_the_nearest_known_one(clone: Clone) -> None:
    clone.first_start()
    clone.set_in_env(HTTP_PROT="8080")
    result = clone.run("init")
    line = len((clone.root / ".env").read_text().splitlines())
    assert result.status == 0
    assert result.err == (
        f"warning: .env line {line}: nothing reads HTTP_PROT; did you mean HTTP_PORT?\n"
    )


@pytest.mark.parametrize("reader", ["web/config/own.py", "docker-compose.override.yml"])
def test_a_key_that_looks_like_ours_is_the_projects_own_if_the_project_reads_it(
    clone: Clone, reader: str
) -> None:
    clone.first_start()
    clone.set_in_env(WEB_MEMORYS="x")
    assert "nothing reads WEB_MEMORYS" in clone.run("init").err
    (clone.root / reader).write_text('os.environ["WEB_MEMORYS_OLD"]\n')
    assert "nothing reads WEB_MEMORYS" in clone.run("init").err, "another name is not this one"
    (clone.root / reader).write_text('os.environ["WEB_MEMORYS"]  # ${WEB_MEMORYS}\n')
    clone.run("init").assert_ok()


@pytest.mark.parametrize(
    "key",
    [
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"),
        *("GOOGLE_APPLICATION_CREDENTIALS", "OTEL_EXPORTER_OTLP_ENDPOINT", "STRIPE_API_KEY"),
        *("DJANGO_SUPERUSER_FIRST_NAME", "REDIS_URL", "DB_PORT", "TZ", "KEY"),
    ],
)
def test_a_key_that_only_a_library_reads_is_not_warned_of(dash_clone: Clone, key: str) -> None:
    dash_clone.first_start()
    dash_clone.set_in_env(**{key: "x"})
    assert dash_clone.run("init").assert_ok().err == ""


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        *(("HTTP_PRT", "HTTP_PORT"), ("ALOWED_HOSTS", "ALLOWED_HOSTS"), ("DOMAINE", "DOMAIN")),
        *(("TIMEZONE", "TIME_ZONE"), ("SECRETKEY", "SECRET_KEY"), ("CSRF_TRUSTED_ORIGIN", "CSRF_")),
    ],
)
def test_a_mistyped_key_is_named_with_the_one_that_was_meant(
    dash_clone: Clone, key: str, meant: str
) -> None:
    dash_clone.first_start()
    dash_clone.set_in_env(**{key: "x"})
    assert f"nothing reads {key}; did you mean {meant}" in dash_clone.run("init").err


@pytest.mark.every_shell
def test_a_file_with_a_byte_order_mark_and_a_private_key_is_read(clone: Clone) -> None:
    clone.add_command("tell", TELL)
    clone.first_start()
    path = clone.root / ".env"
    key = "-----BEGIN PRIVATE KEY-----\nMIIE+/vQ=\n -n * $HOME `id`\n\n-----END PRIVATE KEY-----"
    path.write_text(f"\ufeff{path.read_text()}SIGNING_KEY='{key}'\nTIME_ZONE=Asia/Seoul\n")
    assert clone.run("tell", "SIGNING_KEY", "TIME_ZONE").assert_ok().out == f"{key}\nAsia/Seoul\n"


def test_several_lines_that_end_as_on_windows_are_refused(dash_clone: Clone) -> None:
    dash_clone.first_start()
    path = dash_clone.root / ".env"
    path.write_bytes(path.read_bytes() + b"SIGNING_KEY='one\r\ntwo'\r\n")
    dash_clone.run("init").assert_refused("SIGNING_KEY", "save .env with LF")


def test_the_environment_wins_over_a_key_of_the_project_in_the_containers_too(
    dash_clone: Clone, docker: FakeDocker, toolbox: Toolbox
) -> None:
    """What run.sh asks Compose for is read by Compose itself."""
    dash_clone.first_start()
    dash_clone.set_in_env(SHOP_TOKEN="of the file", SHOP_NAME="'of the file'")
    given = "of the \"shell': $a ${b}\nsecond line"
    compose = toolbox.real_docker()
    if compose is None:
        pytest.skip("needs docker compose")
    for mode, services in (("-0", ("web", "web-blue", "web-green", "web-job")), ("-1", ("web",))):
        dash_clone.run(mode, SHOP_TOKEN=given)
        call = next(c for c in docker.calls() if c.startswith("compose --project") and " up " in c)
        (docker.folder / "calls").write_text("")
        words = call.split(" up ", maxsplit=1)[0].split()
        done = subprocess.run(
            [compose / "docker", *words, "--profile", "tool", "config", "--format", "json"],
            env=dash_clone.surroundings(SHOP_TOKEN=given, POSTDO_RUN="yes"),
            capture_output=True,
            text=True,
            check=True,
        )
        config = json.loads(done.stdout)["services"]
        for service in services:
            environment = config[service]["environment"]
            assert environment["SHOP_TOKEN"].replace("$$", "$") == given, (mode, service)
            assert environment["SHOP_NAME"] == "of the file"


@pytest.mark.every_shell
def test_a_line_that_cannot_be_read_is_named_and_nothing_is_done(clone: Clone) -> None:
    clone.first_start()
    path = clone.root / ".env"
    good = path.read_text()
    number = len(good.splitlines()) + 1
    for line in ("just words", "TWO WORDS=1", "A-B=1", "X='open", "X=5$", 'X="a"b', "=1"):
        path.write_text(f"{good}{line}\n")
        before = clone.files()
        clone.run("init").assert_refused(f".env line {number} cannot be read", "write")
        assert clone.files() == before


def test_a_value_that_cannot_be_read_is_not_shown(clone: Clone) -> None:
    clone.first_start()
    clone.set_in_env(POSTGRES_PASSWORD="hush$hush")
    result = clone.run("init").assert_refused("POSTGRES_PASSWORD", "POSTGRES_PASSWORD='...'")
    assert "hush" not in result.text


def test_a_folder_named_env_is_refused(clone: Clone) -> None:
    (clone.root / ".env").mkdir()
    for command in ("stop", "status", "-2"):
        clone.run(command).assert_refused(".env cannot be read", "a file that you can read")
    assert not clone.state.exists()


def test_an_env_that_the_user_cannot_read_is_refused(nobodys_clone: Clone) -> None:
    nobodys_clone.first_start()
    (nobodys_clone.root / ".env").chmod(0)
    nobodys_clone.run("stop").assert_refused(".env cannot be read", "sudo chown")
    nobodys_clone.run("status").assert_refused(".env cannot be read", "sudo chown")
