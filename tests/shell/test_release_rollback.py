"""Rolling back, and what is recorded of releases: which, by what, and what is refused."""

from __future__ import annotations

import re
import subprocess

import pytest

from .machine import PROJECT
from .production import NOTED, STOPPED, UP, WAIT, Production

HEALTH_CHECK = "docker exec id-web-green python -I -S /opt/kit/healthcheck.py"
PENDING = "run_to_its_end prod -T --entrypoint python web-green -"
STARTED = f"{UP} web-green"


@pytest.mark.parametrize("states", [{"proxy": "stopped"}, {"db": "stopped"}])
def test_a_rollback_brings_up_a_site_that_the_live_version_cannot(
    production: Production, states: dict[str, str]
) -> None:
    """The live one may be why it is down, and --no-build would start just that."""
    production.serves("blue", web_blue="stopped", **states)
    production.released("live", "live")
    page = production.folder / "live/maintenance/page.html"
    page.parent.mkdir()
    page.touch()
    done = production.run(SCRIPT="rollback", SERVES="blue", IMAGES="1 2", ADDITIONS="worker")

    assert (done.status, done.err) == (0, "")
    assert "note   maintenance is on" in done.out
    assert ("start_database prod" in done.calls) is ("db" in states)
    assert (f"{UP} {WAIT} db worker proxy" in done.calls) is ("proxy" in states)
    assert production.live == "web-green"


def test_a_rollback_of_a_stopped_site_that_fails_stops_what_it_started(
    production: Production,
) -> None:
    production.serves("blue", web_blue="stopped", proxy="stopped", db="stopped")
    production.released("live", "live")
    done = production.run(SCRIPT="rollback", SERVES="blue", IMAGES="1 2", FAILS="smoke_test *")

    assert done.calls[-4:] == [
        "keep_logs green",
        "compose prod rm --stop --force web-green",
        *STOPPED,
    ]
    assert production.live == "web-blue"


@pytest.mark.parametrize("recorded", [True, False])
def test_a_rollback_applies_no_migration(production: Production, recorded: bool) -> None:
    """Such as after a restore: the database is older than the code that is asked for."""
    production.serves("blue")
    production.released("live", "live")
    said = "pending=shop.0002_name\npending=shop.0003_x"
    (production.folder / "applied").write_text("shop.0001_initial\nshop.0009_newer\n")
    if recorded:
        said = "not asked"
        production.has_migrations(1, "shop.0001_initial", "shop.0002_name", "shop.0003_x")
    done = production.run("1", SCRIPT="rollback", SERVES="blue", IMAGES="1 2", SAYS=said)

    assert done.status == 3
    assert "shop.0002_name, shop.0003_x" in done.err
    assert "The previous version is still serving." in done.err
    assert not any(" up " in call for call in done.calls)
    assert production.live == "web-blue"


def test_a_rollback_starts_nothing_to_compare_migrations(production: Production) -> None:
    production.serves("blue")
    production.released("live", "live")
    production.has_migrations(1, "auth.0001_initial", "shop.0001_initial")
    (production.folder / "applied").write_text("shop.0001_initial\nauth.0001_initial\nx.0001\n")
    done = production.run(SCRIPT="rollback", SERVES="blue", IMAGES="1 2")

    assert (done.status, done.err) == (0, "")
    assert PENDING not in done.calls
    assert production.live == "web-green"


def test_a_release_that_did_not_record_its_migrations_is_asked_for_them(
    production: Production,
) -> None:
    """It was of an older kit, or the database cannot be asked."""
    production.serves("blue")
    production.released("live", "live")
    production.has_migrations(1, "shop.0001_initial")
    done = production.run(SCRIPT="rollback", SERVES="blue", IMAGES="1 2")

    assert (done.status, done.err) == (0, "")
    assert done.calls.index(PENDING) < done.calls.index(STARTED)


def test_a_release_records_the_migrations_of_its_code(production: Production) -> None:
    facts = "outcome=done\nmigration=auth.0001_initial\nmigration=shop.0001_initial\n"
    production.run(result=facts)

    record = (production.folder / "releases/1").read_text()
    assert "\nmigration=auth.0001_initial\nmigration=shop.0001_initial\n" in record


@pytest.mark.parametrize(("restarts", "fails"), [("1", HEALTH_CHECK), ("0", f"{UP} web-green")])
def test_a_rollback_waits_for_no_version_that_has_ended(
    production: Production, restarts: str, fails: str
) -> None:
    production.serves("blue")
    production.released("live", "live")
    done = production.run(
        SCRIPT="rollback", SERVES="blue", IMAGES="1 2", FAILS=fails, RESTARTS=restarts
    )

    assert done.status == 1
    assert "explain_unhealthy prod web-green" in done.calls
    assert production.live == "web-blue"


def test_a_rollback_that_is_refused_leaves_what_was_built_last_to_the_live_version(
    production: Production,
) -> None:
    """For sh run.sh drift, and for services of the site's image."""
    production.serves("blue")
    production.released("live", "live")
    done = production.run(
        SCRIPT="rollback",
        SERVES="blue",
        IMAGES="1 2",
        FAILS=f"{UP} *",
        ONE_OFF="3",
        result="outcome=refused\nwhat=no such column\nnext=do that\n",
    )

    assert done.status == 3
    assert "no such column" in done.err
    tags = [call for call in done.calls if call.endswith("shop-web:next")]
    assert tags[-1] == "docker tag shop-web:blue shop-web:next"
    assert "the data can go back" not in done.out


@pytest.mark.parametrize(
    ("what", "goes_back"), [("outcome=refused\nwhat=no such column\n", True), ("", False)]
)
def test_a_rollback_that_is_refused_for_its_schema_says_how_the_data_can_go_back_too(
    production: Production, what: str, goes_back: bool
) -> None:
    production.serves("blue")
    production.released("live", "live")
    archive = production.folder / "archive"
    archive.mkdir()
    (archive / "points").write_text("before-release-1=a b\nbefore-migrations-2=c d\n")
    done = production.run(
        SCRIPT="rollback",
        SERVES="blue",
        IMAGES="1 2",
        FAILS=f"{UP} *",
        ONE_OFF="3" if goes_back else "1",
        result=what,
    )
    assert ("sh run.sh -0 restore --before-release 2\n" in done.out) is goes_back


@pytest.mark.parametrize(("given", "asked"), [("", "/ /shop/=200"), (" SMOKE_PATHS ", "/new/=200")])
def test_a_rollback_asks_for_what_its_release_was_asked_for(
    production: Production, given: str, asked: str
) -> None:
    """A page that came later is missing there, and that is no reason to stay."""
    production.serves("blue")
    production.run(SMOKE_PATHS="/ /shop/=200")
    assert production.record(1)["smoke"] == "/ /shop/=200"

    (production.folder / "live/upstream").write_text("web-blue")
    production.released("live", "live")
    with (production.folder / "releases/1").open("a") as record:
        record.write("smoke=/ /shop/=200\n")
    done = production.run(
        SCRIPT="rollback",
        SERVES="blue",
        IMAGES="1 2",
        SMOKE_PATHS="/new/=200",
        NOTED=NOTED.replace("smoke_test", ""),
        GIVEN=given,
        FAILS="docker exec -i *",
    )

    calls = [call for call in done.calls if call.startswith("docker exec -i")]
    assert calls == [f"docker exec -i id-web-green python -I -S - shop http 400 {asked}"]
    assert "web-green failed its smoke test" in done.err
    assert "SMOKE_PATHS=/ sh run.sh rollback 1" in done.err


def test_a_rollback_takes_the_services_of_the_sites_image_along(production: Production) -> None:
    production.serves("blue")
    production.released("live", "live")
    production.has_migrations(1, "shop.0001_initial")
    (production.folder / "applied").write_text("shop.0001_initial\n")
    done = production.run(SCRIPT="rollback", SERVES="blue", IMAGES="1 2")

    assert done.calls[-2:] == ["compose prod stop web-blue", "start_additions prod late"]
    tags = [call for call in done.calls if call.startswith("docker tag")]
    assert tags == [
        "docker tag shop-web:release-1 shop-web:green",
        "docker tag shop-web:green shop-web:next",
    ]


@pytest.mark.parametrize(
    ("outcomes", "images", "arguments", "target"),
    [
        (["live", "live"], "1 2", [], "1"),
        (
            ["live", "failed", "live"],
            "1 2 3",
            [],
            "1",
        ),  # what never served is no place to go back to
        (["live", "taken-back", "live"], "1 2 3", [], "1"),
        (["live", "live", "live"], "1 3", [], "1"),  # no image of 2
        (["live", "live", "live"], "1 2 3", ["1"], "1"),
    ],
)
def test_a_rollback_serves_the_release_before(
    production: Production, outcomes: list[str], images: str, arguments: list[str], target: str
) -> None:
    production.serves("blue")
    production.released(*outcomes)
    last = len(outcomes)
    done = production.run(*arguments, SCRIPT="rollback", SERVES="blue", IMAGES=images)

    assert (done.status, done.err) == (0, "")
    assert f"docker tag shop-web:release-{target} shop-web:green" in done.calls
    steps = [call for call in done.calls if call.startswith(("compose", "smoke", "drain"))]
    assert "keep_logs green" in done.calls, "what it had is replaced"
    assert done.calls.index(PENDING) < done.calls.index(STARTED)
    assert steps == [
        STARTED,
        "smoke_test green",
        "drain blue",
        "compose prod stop web-blue",
    ]
    assert production.live == "web-green"
    assert f"rolled-back-to={target} " in (production.folder / f"releases/{last}").read_text()


@pytest.mark.parametrize(
    ("outcomes", "images", "arguments", "says"),
    [
        ([], "", [], "no earlier release"),
        (["live"], "1", [], "no earlier release"),
        (["live", "live"], "1 2", ["2"], "release 2 is serving already"),
        (["taken-back", "live"], "2", ["1"], "release 1 ended as taken-back"),
        (["failed", "live"], "1 2", [], "no earlier release"),
        (["live", "live"], "2", ["1"], "no longer exists"),
        (["live", "live"], "1 2", ["7"], "no release 7"),
    ],
)
def test_a_rollback_to_nothing_is_refused_and_nothing_starts(
    production: Production, outcomes: list[str], images: str, arguments: list[str], says: str
) -> None:
    production.serves("blue")
    production.released(*outcomes)
    done = production.run(*arguments, SCRIPT="rollback", SERVES="blue", IMAGES=images)

    assert done.status == 1
    assert says in done.err
    assert not any(call.startswith("compose") for call in done.calls)
    assert production.live == "web-blue"


def test_after_a_rollback_and_a_release_it_is_not_the_version_that_was_left(
    production: Production,
) -> None:
    production.serves("blue")
    production.released("live", "live", "live", r3="1")  # 2 was bad: back to 1, then 3 with a fix
    done = production.run(SCRIPT="rollback", SERVES="blue", IMAGES="1 2 3")

    assert "docker tag shop-web:release-1 shop-web:green" in done.calls


def test_a_release_records_what_it_replaces(production: Production) -> None:
    production.serves("blue")
    production.released("live", "live")
    production.run(SERVES="blue", IMAGES="1 2")

    assert production.record(3)["replaces"] == "2"


def test_a_release_of_the_same_image_that_failed_is_not_what_serves(
    production: Production,
) -> None:
    production.serves("blue")
    production.released("live", "live", "failed")
    (production.folder / "releases/2").write_text("image=sha256:1\noutcome=live\nreplaces=1\n")
    done = production.run(SCRIPT="releases", SERVES="blue", IMAGES="1 2")

    assert [(line.split()[0], line.split()[-1]) for line in done.out.splitlines()[1:]] == [
        ("3", "failed"),
        ("2", "live"),
        ("1", "replaced"),
    ]


def test_the_table_of_releases_is_portuguese_in_the_same_columns(production: Production) -> None:
    production.serves("blue")
    production.released("live", "taken-back", "interrupted", "live")
    listed = {"SCRIPT": "releases", "SERVES": "blue", "IMAGES": "1 4"}
    english, portuguese = (
        production.run(LC_ALL=locale, **listed).out.splitlines()
        for locale in ("C.UTF-8", "pt_BR.UTF-8")
    )

    column = english[0].index("outcome")
    assert portuguese[0][column:].split() == ["resultado", "migrações", "aplicadas"]
    said = ["no ar", "interrompido", "revertido", "anterior"]
    assert [line[column:].strip() for line in portuguese[1:]] == said
    assert [line[:column] for line in portuguese[1:]] == [line[:column] for line in english[1:]]


def test_a_run_that_ends_after_the_switch_has_kept_its_image(production: Production) -> None:
    """Else the next rollback would pass over this release."""
    production.serves("blue")
    done = production.run(NOTED=f"{NOTED} end_release", FAILS="end_release live")

    assert production.live == "web-green"
    assert "docker tag shop-web:next shop-web:release-1" in done.calls


@pytest.mark.parametrize(("switched", "outcome"), [(True, "live"), (False, "interrupted")])
def test_what_serves_is_recorded_as_live_however_the_run_ended(
    production: Production, switched: bool, outcome: str
) -> None:
    production.serves("green" if switched else "blue")
    production.released("unfinished")
    known = {"release_number": "1", "release_began": "1", "new": "green"}
    done = production.run("INT", "130", MAIN="interrupted", UNDO_AT_START="record_failure", **known)

    assert done.status == 130
    assert production.record(1)["outcome"] == outcome


def test_what_serves_is_listed_as_live_also_if_its_run_was_killed(production: Production) -> None:
    production.serves("blue")
    production.released("live", "unfinished")
    done = production.run(SCRIPT="releases", SERVES="blue", IMAGES="1 2")

    assert [line.split()[-1] for line in done.out.splitlines()[1:]] == ["live", "replaced"]


@pytest.mark.parametrize(
    ("images", "dropped"),
    [
        ("9=a 8=b 7=c next=a blue=a green=b", "7"),
        ("9=a 8=b next=a blue=a green=b", ""),
        ("9=a 8=a 7=a 6=b next=a blue=a green=a", ""),  # of one image: only .env had changed
        ("9=a 8=a 7=b 6=b 5=c blue=a green=b", "5"),
        ("10=a 9=b 8=c 7=d blue=a green=d", "8"),  # a rollback had brought 7 back
    ],
)
def test_only_what_nobody_would_go_back_to_is_removed(
    production: Production, images: str, dropped: str
) -> None:
    pairs = [pair.split("=") for pair in images.split()]
    listed = "".join(
        f"{'release-' if tag.isdecimal() else ''}{tag} sha256:{image}\n" for tag, image in pairs
    )
    done = production.run(MAIN="images_to_drop", LISTED=listed, KEEP_RELEASES="2")

    assert done.out.split() == [f"shop-web:release-{number}" for number in dropped.split()]


COLLECT = (
    "mount / from exec /bin/sh -c DJANGO_SETTINGS_MODULE=$PROD_SETTINGS sh /image/collect.sh "
    "/opt/kit/check-stamp.json /static-cache"
)
INSTALL = "mount / from exec /bin/sh -c sh /image/install.sh production"
RECORD = """\
ID:\t\t{id}
Parent:\t\tparent
Created at:\t2026-11-30 07:46:{second:02}.846838878791 +0000 UTC
Mutable:\ttrue
Reclaimable:\ttrue
Shared:\t\t{shared}
Size:\t\t4.7MB
Description:\t{made_by}
Usage count:\t1
Last used:\t7 hours ago
Type:\t\t{kind}

"""


def record(number: int, made_by: str, shared: str = "false", kind: str = "regular") -> str:
    """As `docker buildx du --verbose` prints it; the one with the higher number is newer."""
    return RECORD.format(id=f"id{number}", second=number, made_by=made_by, shared=shared, kind=kind)


def test_old_build_cache_of_this_kit_is_removed_and_that_of_nobody_else(
    production: Production,
) -> None:
    (production.folder / "cache").write_text(
        record(4, COLLECT)
        + record(1, "[project 3/4] COPY web/ ./")
        + record(2, COLLECT)
        + record(3, COLLECT)
        + record(5, COLLECT, shared="true")  # an image has it
        + record(6, INSTALL)
        + record(7, "[project 3/4] COPY app/ ./")
        + record(8, "[production 6/7] COPY --from=project /app /app")
        + record(9, "[project 3/4] COPY web/ ./")
        + record(10, "[production 7/8] COPY --from=project /app /app")
        + record(11, "mount / from exec /bin/sh -c sh /opt/theirs/collect.sh")
        + record(12, "local source for context", kind="source.local")
        # Theirs, by chance with the same words.
        + record(13, "[build 3/4] COPY web/ ./")
        + record(14, "[3/4] COPY web/ ./")
        + record(15, "[final 2/9] COPY --from=project /app /app")
        + record(16, "mount / from exec /bin/sh -c sh /image/install.sh")
        + "Shared:\t\t1.56GB\nTotal:\t\t8.673GB\n"
    )
    done = production.run(MAIN="remove_old_build_cache", KEEP_RELEASES="1")

    _, replaced, unused = done.calls
    prune = "docker buildx prune --force --filter id=^({})$ --filter until={}"
    assert replaced == prune.format("id1|id2|id3|id8", "24h")
    assert unused == prune.format("id6", "720h")
    again = production.run(MAIN="remove_old_build_cache", KEEP_RELEASES="1")
    assert again.calls == [], "once a day"


def instructions() -> list[tuple[str, str]]:
    """Those of the Dockerfile: the stage that each is in, and what it says on one line."""
    text = (PROJECT / "Dockerfile").read_text()
    lines = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))
    stage = ""
    found = []
    for line in re.sub(r"\\\n\s*", "", lines).splitlines():
        if line.startswith("FROM "):
            stage = line.split()[-1]
        elif line.startswith(("COPY ", "RUN ")):
            found.append((stage, line))
    return found


def as_described(stage: str, instruction: str) -> str:
    """What BuildKit writes of it."""
    if instruction.startswith("COPY "):
        return f"[{stage} 7/9] {instruction}"
    return "mount / from exec /bin/sh -c " + re.sub(r"^RUN (--\S+ )*", "", instruction)


def test_the_build_cache_that_is_removed_is_that_of_this_dockerfile() -> None:
    """Each change of web/ makes anew what is copied from there, and all that follows it."""
    of_web: set[str] = set()  # the stages whose later steps do
    replaced, others, descriptions = [], [], []
    for stage, instruction in instructions():
        described = as_described(stage, instruction)
        descriptions.append(described)
        source = (re.findall(r"^COPY --from=(\S+)", instruction) or [""])[0]
        if instruction == "COPY web/ ./" or source in of_web:
            of_web.add(stage)
        if stage in of_web:
            replaced.append(described)
        elif "/image/install.sh" in instruction or source.startswith(("requirements", "kit")):
            others.append(described)
    listed = "".join(record(number, one) for number, one in enumerate(descriptions))

    assert len(replaced) >= 4
    assert len(others) >= 4
    for want, expected in (("replaced", replaced), ("others", others)):
        printed = subprocess.run(
            ["awk", "-v", f"want={want}", "-f", str(PROJECT / "lib/build-cache.awk")],
            input=listed,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        ids = [line.split("\t")[2] for line in printed.splitlines()]
        assert [descriptions[int(one.removeprefix("id"))] for one in ids] == expected


def test_without_build_cache_nothing_is_pruned(production: Production) -> None:
    (production.folder / "cache").write_text("Total:\t\t0B\n")
    done = production.run(MAIN="remove_old_build_cache")

    assert done.calls == ["docker buildx du --verbose"]


@pytest.mark.parametrize("arguments", [["--fast"], ["1", "2"], ["x"]])
def test_a_rollback_takes_a_number_alone(production: Production, arguments: list[str]) -> None:
    done = production.run(*arguments, SCRIPT="rollback")

    assert (done.status, done.calls) == (2, [])
