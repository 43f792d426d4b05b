"""`maintenance`: the files that Caddy looks for, and what is said. (By Caddy: tests/stack.)"""

from __future__ import annotations

import re
import stat
import subprocess
from pathlib import Path

import pytest

from .fakes import FakeDocker
from .machine import PROJECT, Clone, Toolbox
from .test_owner import OTHER, belongs_to
from .test_starts import make_live
from .test_status import ILL, PAGE, WELL, site


def folder(clone: Clone) -> Path:
    """Where the state of maintenance is."""
    return clone.state / "live" / clone.environment["PROJECT_NAME"] / "maintenance"


@pytest.mark.every_shell
def test_on_writes_what_caddy_looks_for_and_off_removes_it(clone: Clone) -> None:
    said = clone.run("maintenance", "on", "--allow", "203.0.113.7")

    said.assert_ok()
    here = folder(clone)
    key = (here / "key").read_text()
    assert re.fullmatch(r"[\w-]{32}", key)
    assert f"/?maintenance_key={key}\n" in said.out
    assert (here / "page.html").read_text() == (clone.root / "proxy/maintenance.html").read_text()
    assert [path.name for path in (here / "allowed").iterdir()] == ["203.0.113.7"]
    for path in (here, *here.rglob("*")):
        assert path.stat().st_mode & stat.S_IROTH, f"the proxy's own user cannot read {path}"

    clone.run("maintenance", "off").assert_ok()

    assert not here.exists()
    assert clone.run("maintenance").out == "maintenance is off\n"


def test_on_once_more_has_the_new_page_and_the_old_link(dash_clone: Clone) -> None:
    first = dash_clone.run("maintenance", "on", "--allow", "203.0.113.7").out
    (dash_clone.root / "web/maintenance.html").write_text("<h1>At six</h1>\n")

    second = dash_clone.run("maintenance", "on", "--allow", "203.0.113.8").out

    assert (folder(dash_clone) / "page.html").read_text() == "<h1>At six</h1>\n"
    assert re.findall(r"key=\S+", first) == re.findall(r"key=\S+", second)
    assert "203.0.113.7" in second
    assert "203.0.113.8" in second
    assert dash_clone.run("maintenance").out == second


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("010.1.2.03", "10.1.2.3"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
        ("FE80:0:0:0:0:0:0:0", "fe80::"),
        ("1:2:3:4:5:6:7:0", "1:2:3:4:5:6:7:0"),
    ],
)
def test_an_address_is_kept_as_caddy_writes_it(dash_clone: Clone, given: str, kept: str) -> None:
    dash_clone.run("maintenance", "on", "--allow", given).assert_ok()

    assert [path.name for path in (folder(dash_clone) / "allowed").iterdir()] == [kept]


@pytest.mark.parametrize(
    "given", ["", "10.0.0.0/8", "shop.example", "10.0.0", "1.2.3.256", "::g", ":::", "1::2::3"]
)
def test_what_is_no_address_is_refused(dash_clone: Clone, given: str) -> None:
    result = dash_clone.run("maintenance", "on", "--allow", "10.1.1.1", "--allow", given)

    result.assert_refused("--allow needs an IP address", "sh run.sh help maintenance", status=2)
    assert not folder(dash_clone).exists()


def test_what_a_killed_run_left_lets_nobody_in_later(dash_clone: Clone) -> None:
    first = dash_clone.run("maintenance", "on", "--allow", "203.0.113.7").out
    (folder(dash_clone) / "page.html").unlink()  # killed in `off`

    second = dash_clone.run("maintenance", "on").out

    assert "203.0.113.7" not in second
    assert re.findall(r"key=\S+", first) != re.findall(r"key=\S+", second)


def test_an_address_is_written_alike_by_every_awk(toolbox: Toolbox) -> None:
    given = ["010.1.2.03", "2001:DB8:0::1", "::ffff:192.0.2.8", "1:0:0:2:0:0:0:3", "::", "1:2"]
    for awk in toolbox.awks().values():
        found = [
            subprocess.run(
                [awk, "-f", PROJECT / "lib/address.awk"],
                input=f"{one}\n",
                capture_output=True,
                text=True,
                check=True,
            ).stdout.strip()
            for one in given
        ]
        assert found == ["10.1.2.3", "2001:db8::1", "192.0.2.8", "1:0:0:2::3", "::", ""], awk


def test_a_page_that_caddy_cannot_send_is_refused(dash_clone: Clone) -> None:
    (dash_clone.root / "web/maintenance.html").write_text("x" * 1_000_001)

    result = dash_clone.run("maintenance", "on")

    result.assert_refused("cannot be the page", "move it away")
    assert not folder(dash_clone).exists()


def runs_a_proxy(docker: FakeDocker, *, knows: bool) -> None:
    """From now on the proxy runs, and has the word for maintenance in its configuration or not."""
    docker.has_container("proxy")
    docker.answer("exec id-proxy sh -c *grep*/maintenance", status=0 if knows else 1)


def test_a_proxy_of_an_older_kit_is_no_silent_success(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    runs_a_proxy(docker, knows=False)

    result = dash_clone.run("maintenance", "on")

    result.assert_refused("the proxy was started by an older version", "sh run.sh -0")
    assert not folder(dash_clone).exists()


def test_a_proxy_that_knows_it_stays_as_it_is(dash_clone: Clone, docker: FakeDocker) -> None:
    runs_a_proxy(docker, knows=True)

    dash_clone.run("maintenance", "on").assert_ok()

    assert not any("start.sh" in call for call in docker.calls())


def test_of_another_clones_site_it_is_refused(dash_clone: Clone, docker: FakeDocker) -> None:
    belongs_to(docker, OTHER)

    dash_clone.run("maintenance", "on").assert_refused("belongs to the clone in", "adopt-stack")

    assert not folder(dash_clone).exists()


@pytest.mark.parametrize(("answer", "status"), [(PAGE, WELL), ("503 for /readyz: no", ILL)])
def test_status_says_it_and_asks_the_site_behind_the_page(
    dash_clone: Clone, docker: FakeDocker, answer: str, status: int
) -> None:
    make_live(dash_clone, "web-blue")
    site(docker, "503 for /readyz", db="healthy")
    docker.answer("exec -i id-web-blue python -I -S - /readyz 127.0.0.1 8000", out=answer)
    runs_a_proxy(docker, knows=True)
    dash_clone.run("maintenance", "on").assert_ok()

    told = dash_clone.run("-0", "status")

    assert told.status == status, told
    assert "visitors get its page\n       next: end it: sh run.sh maintenance off\n" in told.out
    assert f"get {answer}\n" in told.out
