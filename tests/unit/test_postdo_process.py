"""The worker's process: isolated, bounded, and it always gives an answer or a reason."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from projects import Project, make_shop, query
from rehearsing import do, failed, finish, job, migrated, python, start, state, traced


@pytest.fixture
def shop(tmp_path: Path, database: str) -> Project:
    return migrated(make_shop(tmp_path, database))


def settings(project: Project, more: str) -> None:
    file = project.root / "config/settings.py"
    file.write_text(f"{file.read_text()}\n{more}\n")


def test_everything_is_rolled_back_and_seen_before_that(shop: Project) -> None:
    shop.migration(
        "shop",
        "0002_stock",
        'migrations.AddField("Item", "stock", models.IntegerField(default=0))',
        after="0001_initial",
    )
    before = state(shop)
    trace = traced(shop)
    assert [step.migration for step in trace.steps] == ["shop.0002_stock", "post_migrate"]
    columns = {entry.name for entry in trace.after.of("column") if entry.table.endswith("_item")}
    assert columns == {"id", "name", "stock"}
    assert trace.before.checksum != trace.after.checksum
    assert state(shop) == before


def test_a_project_from_nothing_is_rehearsed_too(tmp_path: Path, database: str) -> None:
    project = make_shop(tmp_path, database)
    trace = traced(project)
    assert "shop.0001_initial" in [step.migration for step in trace.steps]
    assert trace.before.tables == frozenset()
    assert trace.locks == ()
    assert project.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


MAIL = """
from django.core.mail import send_mail
send_mail('News', 'Text', 'us@example.com', ['a@example.com', 'b@example.com', 'c@example.com'])
"""


def test_mail_is_counted_and_not_sent(shop: Project) -> None:
    python(shop, "0002_mail", MAIL.strip(), after="0001_initial")
    result = do(shop)
    assert result.failure is None
    assert result.outside == ("mail to 3 recipients",)


CONNECTS = {
    "connect": "socket.create_connection(('127.0.0.1', {port}))",
    "connect_ex": "socket.socket().connect_ex(('127.0.0.1', {port}))",
    "sendto": "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {port}))",
}


@pytest.mark.parametrize("way", CONNECTS)
def test_the_network_is_closed(shop: Project, way: str) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        call = CONNECTS[way].format(port=port)
        python(shop, "0002_call", f"import socket\n{call}", after="0001_initial")
        result = do(shop)
        assert result.failure is not None
        assert (
            result.failure.what == "ConnectionRefusedError: the network is closed in the rehearsal"
        )
        assert result.failure.place.endswith("shop/migrations/0002_call.py:7")
        assert result.failure.migration == "shop.0002_call"
        assert result.outside == (f"network 127.0.0.1:{port}",)
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_the_network_can_be_allowed(shop: Project) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        body = f"import socket\nsocket.create_connection(('127.0.0.1', {port}))"
        python(shop, "0002_call", body, after="0001_initial")
        result = do(shop, network=True)
        assert result.failure is None
        server.settimeout(5)
        server.accept()[0].close()


CALLS = "import socket\nsocket.create_connection(('{host}', {port}))"


@pytest.mark.parametrize("named", ["localhost:{port}", "a.example,127.0.0.1:{port}", "127.0.0.1"])
def test_a_host_that_is_named_can_be_reached_and_no_other(shop: Project, named: str) -> None:
    with socket.socket() as server, socket.socket() as other:
        for one in (server, other):
            one.bind(("127.0.0.1", 0))
            one.listen()
            one.settimeout(5)
        port = server.getsockname()[1]
        hosts = tuple(named.format(port=port).split(","))
        body = CALLS.format(host="localhost" if "localhost" in named else "127.0.0.1", port=port)
        python(shop, "0002_call", body, after="0001_initial")
        result = do(shop, hosts=hosts)
        assert result.failure is None
        assert result.outside == ()
        server.accept()[0].close()
        if ":" in named:
            body = CALLS.format(host="127.0.0.1", port=other.getsockname()[1])
            python(shop, "0002_call", body, after="0001_initial")
            assert "the network is closed" in failed(shop, hosts=hosts).what


def test_a_socket_in_a_folder_is_the_network_too(shop: Project, tmp_path: Path) -> None:
    """Redis, Docker and others listen there."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "redis.sock"))
        server.listen()
        body = "import socket\nsocket.socket(socket.AF_UNIX).connect('redis.sock')"
        python(shop, "0002_call", body, after="0001_initial")
        result = do(shop)
        assert result.failure is not None
        assert result.outside == ("network redis.sock",)


CACHES = {
    "redis": "'BACKEND': 'django.core.cache.backends.redis.RedisCache'",
    "django-redis": "'BACKEND': 'django_redis.cache.RedisCache'",
    "memcached": "'BACKEND': 'django.core.cache.backends.memcached.PyMemcacheCache'",
    "files": "'BACKEND': 'django.core.cache.backends.filebased.FileBasedCache'",
}
CLEARS = """
from django.apps import AppConfig
from django.db.models.signals import post_migrate


def clear(**_):
    from django.core.cache import caches
    caches["remote"].clear()
    caches["remote"].set("key", "value")
    assert caches["remote"].get("key") == "value"
    {more}


class Shop(AppConfig):
    name = "shop"

    def ready(self):
        post_migrate.connect(clear)
"""


@pytest.mark.parametrize("cache", CACHES)
def test_a_handler_may_clear_a_cache_that_is_elsewhere(shop: Project, cache: str) -> None:
    """A cache may be empty at any time, so that one of our own does for the rehearsal."""
    location = f"'LOCATION': {'cache' if cache == 'files' else 'redis://127.0.0.1:1'!r}"
    default = "'default': {'BACKEND': 'django.core.cache.backends.locmem.LocMemCache'}"
    settings(shop, f"CACHES = {{{default}, 'remote': {{{CACHES[cache]}, {location}}}}}")
    more = "caches['remote'].delete_pattern('*')" if cache == "django-redis" else ""
    shop.write("shop/apps.py", CLEARS.format(more=more))
    python(shop, "0002_nothing", "pass", after="0001_initial")
    result = do(shop)
    assert result.failure is None
    assert result.outside == ()
    assert not (shop.root / "cache").exists()


def test_a_handler_that_can_live_without_its_host_goes_on(shop: Project) -> None:
    """What it meets is what a host gives that does not listen."""
    body = (
        "import socket\ntry:\n    socket.create_connection(('redis.example', 6379))\n"
        "except ConnectionError:\n    pass"
    )
    python(shop, "0002_call", body, after="0001_initial")
    result = do(shop)
    assert result.failure is None
    assert result.outside == ("network redis.example:6379",)


SPAWNS = """
import multiprocessing
try:
    multiprocessing.get_context('{way}').Process(target=print).start()
except OSError as error:
    assert 'no other program' in str(error), error
else:
    raise AssertionError('it was started')
"""


@pytest.mark.parametrize("way", ["spawn", "forkserver"])
def test_a_process_that_would_know_nothing_of_this_is_not_started(shop: Project, way: str) -> None:
    python(shop, "0002_spawn", SPAWNS.format(way=way).strip(), after="0001_initial")
    result = do(shop)
    assert result.failure is None
    assert [line.partition(" ")[0] for line in result.outside] == ["program"]


def test_a_name_is_not_even_looked_up(shop: Project) -> None:
    body = "from urllib.request import urlopen\nurlopen('https://api.example.com/')"
    python(shop, "0002_call", body, after="0001_initial")
    result = do(shop)
    assert result.failure is not None
    assert "the network is closed in the rehearsal" in result.failure.what
    assert result.outside == ("network api.example.com:443",)


@pytest.mark.parametrize("call", ["os.system('touch ran')", "subprocess.run(['touch', 'ran'])"])
def test_no_program_is_run(shop: Project, call: str) -> None:
    python(shop, "0002_run", f"import os, subprocess\n{call}", after="0001_initial")
    result = do(shop)
    assert result.failure is not None
    assert result.failure.what == "OSError: no other program can be run in the rehearsal"
    assert result.outside == ("program touch",)
    assert not (shop.root / "ran").exists()


REPORTS = {
    "postgresql": "DATABASES['reports'] = dict(DATABASES['default'], NAME='postgres')",
    "sqlite": (
        "DATABASES['reports'] = {'ENGINE': 'django.db.backends.sqlite3', 'NAME': 'reports.sqlite'}"
    ),
}
COPY_JOB = """
from django.db import connections
with connections['reports'].cursor() as cursor:
    cursor.execute("SELECT 'from ' || 'another one'")
    for (name,) in cursor.fetchall():
        apps.get_model('shop', 'Item').objects.create(name=name)
assert apps.get_model('shop', 'Item').objects.filter(name='from another one').count() == 1
"""


@pytest.mark.parametrize("vendor", REPORTS)
@pytest.mark.parametrize("mode", ["transaction", "plain"])
def test_another_database_of_the_project_can_be_read(shop: Project, vendor: str, mode: str) -> None:
    settings(shop, REPORTS[vendor])
    shop.write("reports.sqlite", "")
    python(shop, "0002_other", COPY_JOB.strip(), after="0001_initial")
    result = do(shop, mode)
    assert result.failure is None
    assert result.outside == ()


WRITES = {
    "postgresql": [
        "CREATE TABLE postdo_made (i int)",
        "SET default_transaction_read_only = off",
        "SET TRANSACTION READ WRITE",
        "SELECT pg_reload_conf()",
    ],
    "sqlite": ["CREATE TABLE postdo_made (i int)", "PRAGMA query_only = OFF"],
}


@pytest.mark.parametrize(("vendor", "sql"), [(v, sql) for v in WRITES for sql in WRITES[v]])
def test_another_database_of_the_project_is_never_written(
    shop: Project, vendor: str, sql: str
) -> None:
    settings(shop, REPORTS[vendor])
    shop.write("reports.sqlite", "")
    body = f"from django.db import connections\nconnections['reports'].cursor().execute({sql!r})"
    python(shop, "0002_other", body, after="0001_initial")
    result = do(shop)
    assert result.failure is not None
    assert result.failure.what == "the database 'reports' can only be read in the rehearsal"
    assert not result.failure.single_only
    assert result.outside == ("database reports, to write",)
    maintenance = shop.url.rpartition("/")[0] + "/postgres"
    assert query(maintenance, "SELECT to_regclass('postdo_made')") == [(None,)]


def test_another_database_that_cannot_be_held_to_reading_is_closed(shop: Project) -> None:
    engine = "django.db.backends.mysql"
    settings(
        shop,
        f"DATABASES['reports'] = {{'ENGINE': {engine!r}, 'NAME': 'x'}}\n"
        "import sys, types\n"
        "from django.db.backends.dummy import base\n"
        "class DatabaseWrapper(base.DatabaseWrapper):\n    vendor = 'mysql'\n"
        "sys.modules['django.db.backends.mysql.base'] = types.SimpleNamespace("
        "DatabaseWrapper=DatabaseWrapper)",
    )
    body = "from django.db import connections\nconnections['reports'].connect()"
    python(shop, "0002_other", body, after="0001_initial")
    result = do(shop)
    assert result.failure is not None
    assert result.failure.what == "the database 'reports' is closed in the rehearsal"
    assert result.outside == ("database reports",)


def test_another_name_for_the_same_database_is_the_copy_too(shop: Project) -> None:
    settings(shop, "DATABASES['again'] = dict(DATABASES['default'])")
    body = (
        "from django.db import connections\n"
        "with connections['again'].cursor() as cursor:\n"
        "    cursor.execute('SELECT current_database()')\n"
        "    raise ValueError(cursor.fetchone()[0])"
    )
    python(shop, "0002_other", body, after="0001_initial")
    with_copy(shop, "ValueError: postdo_test_copy")


def with_copy(shop: Project, expected: str) -> None:
    """Do the job in another database than the one that the settings name."""
    (name,) = shop.sql("SELECT current_database()")[0]
    server = shop.url.rpartition("/")[0] + "/postgres"
    query(server, f"CREATE DATABASE postdo_test_copy TEMPLATE {name}")
    try:
        result, _ = finish(start(shop, job(Project(shop.root, f"{server[:-8]}postdo_test_copy"))))
        assert result.failure is not None
        assert result.failure.what == expected
    finally:
        query(server, "DROP DATABASE postdo_test_copy WITH (FORCE)")


def test_the_environment_names_the_copy_wherever_it_named_production(shop: Project) -> None:
    name, server = shop.url.rpartition("/")[2], shop.url.rpartition("/")[0]
    told = {
        "PGDATABASE": name,
        "ADDRESS": f"{server.replace('127.0.0.1', 'localhost')}/{name}?sslmode=prefer",
        "ANOTHER": f"{server}/another",
        "ELSEWHERE": f"postgres://u:p@127.0.0.1:1/{name}",
        "NOTE": name,
    }
    settings(shop, f"import os\nos.environ.update({told!r})")
    keys = ", ".join(f"os.environ[{key!r}]" for key in told)
    python(shop, "0002_tell", f"import os\nraise ValueError({keys})", after="0001_initial")
    changed = {
        "PGDATABASE": "postdo_test_copy",
        "ADDRESS": told["ADDRESS"].replace(f"/{name}", "/postdo_test_copy"),
    }
    with_copy(shop, f"ValueError: {(*{**told, **changed}.values(),)}")


def test_the_copy_is_used_whatever_the_settings_name(shop: Project) -> None:
    python(
        shop,
        "0002_where",
        "with schema_editor.connection.cursor() as cursor:\n"
        "    cursor.execute('SELECT current_database()')\n"
        "    raise ValueError(cursor.fetchone()[0])",
        after="0001_initial",
    )
    with_copy(shop, "ValueError: postdo_test_copy")


FILES = """
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
assert default_storage.listdir('') == (['up'], ['logo.txt'])
assert default_storage.listdir('up') == ([], ['a.txt'])
assert default_storage.open('logo.txt').read() == b'ours'
default_storage.delete('logo.txt')
assert not default_storage.exists('logo.txt')
default_storage.save('new.txt', ContentFile(b'new'))
assert default_storage.save('up/a.txt', ContentFile(b'b')) != 'up/a.txt'
assert sorted(default_storage.listdir('')[1]) == ['new.txt']
import os
from django.conf import settings
os.rename(os.path.join(settings.MEDIA_ROOT, 'up'), os.path.join(settings.MEDIA_ROOT, 'down'))
assert len(default_storage.listdir('down')[1]) == 2
"""
STORAGES = {
    "media root": "MEDIA_ROOT = 'media'",
    "a storage of its own": """
from django.core.files.storage import FileSystemStorage
class Overwriting(FileSystemStorage):
    pass
MEDIA_ROOT = 'media'
STORAGES = {'default': {'BACKEND': 'config.settings.Overwriting'},
            'staticfiles': {'BACKEND': 'django.core.files.storage.FileSystemStorage'}}
""",
}


@pytest.mark.parametrize("storage", STORAGES)
def test_files_of_the_site_can_be_read_and_stay_as_they_are(shop: Project, storage: str) -> None:
    settings(shop, STORAGES[storage])
    shop.write("media/logo.txt", "ours")
    shop.write("media/up/a.txt", "a")
    python(shop, "0002_files", FILES.strip(), after="0001_initial")
    result = do(shop)
    assert result.failure is None
    assert [line for line in result.outside if "written" not in line] == [
        "files in media: 1 removed (logo.txt)",
        "files in media: 1 renamed (up to down)",
    ]
    files = {str(file.relative_to(shop.root)) for file in (shop.root / "media").rglob("*.txt")}
    assert files == {"media/logo.txt", "media/up/a.txt"}
    assert (shop.root / "media/logo.txt").read_text() == "ours"


# By what does not come by Python's own functions, and what does not come by the changed ones.
PAST = {
    "in C": "import ctypes\nassert ctypes.CDLL(None).unlink(b'kept.txt') == -1",
    "renamed in C": "import ctypes\nassert ctypes.CDLL(None).rename(b'kept.txt', b'lost') == -1",
    "opened in C": "import ctypes\nassert ctypes.CDLL(None).open(b'kept.txt', 0o1002) == -1",
    "by sqlite": (
        "import sqlite3\ntry:\n    sqlite3.connect('made.sqlite').execute('CREATE TABLE t (i)')\n"
        "except sqlite3.OperationalError:\n    pass\nelse:\n    raise AssertionError"
    ),
    "in a child": (
        "import os\nif os.fork() == 0:\n    import ctypes\n"
        "    os._exit(ctypes.CDLL(None).unlink(b'kept.txt') + 5)\nassert os.wait()[1] == 4 << 8"
    ),
}


@pytest.mark.parametrize("way", PAST)
def test_the_kernel_keeps_what_does_not_come_by_python(shop: Project, way: str) -> None:
    shop.write("kept.txt", "kept")
    python(shop, "0002_files", PAST[way], after="0001_initial")
    result = do(shop)
    assert result.failure is None
    assert result.gap == ""
    assert (shop.root / "kept.txt").read_text() == "kept"
    assert not (shop.root / "made.sqlite").exists()
    assert not (shop.root / "lost").exists()


SHARED = Path("/dev/shm", "postdo-test-made")  # noqa: S108  must not be made
# What is not the function that is looked up in ``os``: told, and refused.
BOUND = {
    "remove": "import posix\nposix.remove('kept.txt')",
    "rename": "import posix\nposix.rename('kept.txt', 'lost')",
    "open": "import io\nio.FileIO('kept.txt', 'w')",
    "chmod": "import posix\nposix.chmod('kept.txt', 0)",
    "chmod of an open one": "import os\nkept = open('kept.txt')\nos.fchmod(kept.fileno(), 0)",
    "utime": "import posix\nposix.utime('kept.txt', (1, 1))",
    "mkdir": "import posix\nposix.mkdir('made')",
    "symlink": "import os\nos.symlink('kept.txt', 'made')",
    "link": "import os\nos.link('kept.txt', 'made')",
    "truncate": "import os\nos.truncate('kept.txt', 0)",
    "in the folder for shared memory": f"open('{SHARED}', 'w')",
}


@pytest.mark.parametrize("kernel", [True, False])
@pytest.mark.parametrize("way", BOUND)
def test_what_python_changes_is_refused_also_without_the_kernel(
    shop: Project, way: str, kernel: bool
) -> None:
    if not kernel:
        without_landlock(shop)
    file = shop.write("kept.txt", "kept")
    before = file.stat()
    python(shop, "0002_files", BOUND[way], after="0001_initial")
    result = do(shop)
    assert result.failure is not None
    assert "the rehearsal cannot change files outside its own folder" in result.failure.what
    assert "1 refused" in result.outside[0]
    assert ("Landlock" in result.gap) is not kernel
    after = file.stat()
    assert (after.st_mode, after.st_mtime_ns, after.st_size) == (
        before.st_mode,
        before.st_mtime_ns,
        before.st_size,
    )
    assert not (shop.root / "made").exists()
    assert not SHARED.exists()


def without_landlock(shop: Project) -> None:
    """As on an older kernel: there the call answers so."""
    settings(shop, "from postdo.rehearsal import landlock\nlandlock.restrict = lambda _: False")


def test_files_are_aside_without_the_kernel_too(shop: Project) -> None:
    without_landlock(shop)
    shop.write("kept.txt", "kept")
    body = "import os\nos.rename('kept.txt', 'lost')\nassert open('lost').read() == 'kept'"
    python(shop, "0002_files", body, after="0001_initial")
    result = do(shop)
    assert result.failure is None
    assert result.outside == ("files in .: 1 renamed (kept.txt to lost)",)
    assert (shop.root / "kept.txt").read_text() == "kept"


IN_CHILDREN = """
import multiprocessing, os


def work(name):
    open('made-' + name, 'w').write(name)
    os.remove(name)
    from django.core.mail import send_mail
    send_mail('News', 'Text', 'us@example.com', ['a@example.com'])
    import socket
    try:
        socket.create_connection(('api.example.com', 443))
    except ConnectionError:
        return os.path.exists(name), open('made-' + name).read()
"""


def test_what_forked_children_do_is_done_aside_and_told_too(shop: Project) -> None:
    for name in "abc":
        shop.write(name, name)
    shop.write("shop/work.py", IN_CHILDREN)
    body = (
        "import multiprocessing\nfrom shop.work import work\n"
        "with multiprocessing.get_context('fork').Pool(2) as pool:\n"
        "    assert pool.map(work, 'abc') == [(False, name) for name in 'abc']"
    )
    python(shop, "0002_files", body, after="0001_initial")
    result = do(shop)
    assert result.failure is None
    assert result.outside[:2] == ("mail to 3 recipients", "network api.example.com:443")
    assert sorted(line.partition(" (")[0] for line in result.outside[2:]) == [
        "files in .: 3 removed",
        "files in .: 3 written",
    ]
    assert [(shop.root / name).read_text() for name in "abc"] == ["a", "b", "c"]
    assert list(shop.root.glob("made-*")) == []


def test_logs_and_temporary_files_are_no_files_of_the_site(shop: Project) -> None:
    """Also a log that is only opened when it is written."""
    handler = "{'class': 'logging.FileHandler', 'filename': 'log.txt', 'delay': True}"
    settings(
        shop,
        f"LOGGING = {{'version': 1, 'handlers': {{'file': {handler}}}, "
        "'root': {'handlers': ['file']}}",
    )
    body = (
        "import logging, tempfile\nlogging.error('told')\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    open(folder + '/x', 'w').write('x')\n"
        "tempfile.TemporaryFile().write(b'x')\n"
        "import multiprocessing\nmultiprocessing.get_context('fork').Lock()"
    )
    python(shop, "0002_files", body, after="0001_initial")
    result = do(shop)
    assert result.failure is None
    assert result.outside == ()


def test_what_a_migration_prints_does_not_disturb(shop: Project) -> None:
    body = "import os\nprint('{\"kind\": \"result\"}', flush=True)\nos.write(1, b'raw\\n')"
    python(shop, "0002_print", body, after="0001_initial")
    trace = traced(shop)
    assert [step.migration for step in trace.steps] == ["shop.0002_print", "post_migrate"]


def test_a_migration_that_asks_a_question_gets_no_answer(shop: Project) -> None:
    python(shop, "0002_ask", "input('really? ')", after="0001_initial")
    assert failed(shop).what == "EOFError: EOF when reading a line"


def test_a_migration_that_ends_the_process_is_a_failure(shop: Project) -> None:
    python(shop, "0002_exit", "raise SystemExit('no more')", after="0001_initial")
    failure = failed(shop)
    assert (failure.migration, failure.what) == ("shop.0002_exit", "SystemExit: no more")
    python(shop, "0002_exit", "import os\nos._exit(7)", after="0001_initial")
    failure = failed(shop)
    assert (failure.migration, failure.what) == ("shop.0002_exit", "SystemExit: 7")


def test_a_process_that_ends_past_python_is_a_failure_with_its_last_words(shop: Project) -> None:
    body = "import ctypes, os\nos.write(2, b'bye\\n')\nctypes.CDLL(None)._exit(7)"
    python(shop, "0002_exit", body, after="0001_initial")
    failure = failed(shop)
    assert failure.migration == "shop.0002_exit"
    assert failure.what == "the rehearsal's process ended without a result (exit code 7)"
    assert failure.output == ("bye",)


def test_a_child_that_a_migration_forks_may_end_as_it_likes(shop: Project) -> None:
    body = "import os\nif os.fork() == 0:\n    os._exit(3)\nassert os.wait()[1] == 3 << 8"
    python(shop, "0002_fork", body, after="0001_initial")
    result = do(shop, "transaction")
    assert result.failure is None


def test_a_process_that_is_killed_is_a_failure_that_says_so(shop: Project) -> None:
    body = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
    python(shop, "0002_kill", body, after="0001_initial")
    failure = failed(shop)
    assert failure.migration == "shop.0002_kill"
    assert "killed by SIGKILL" in failure.what
    assert not failure.single_only


def test_the_time_is_bounded(shop: Project) -> None:
    sleep = "migrations.RunSQL('SELECT pg_sleep(60)')"
    shop.migration("shop", "0002_slow", sleep, after="0001_initial")
    began = time.monotonic()
    failure = failed(shop, seconds=2.0)
    assert time.monotonic() - began < 10
    assert "REHEARSE_SECONDS" in failure.what
    assert failure.migration == "shop.0002_slow"
    nobody_works(shop)


def test_the_memory_is_bounded(shop: Project) -> None:
    body = "import time\neverything = [bytes(1_000_000) for _ in range(400)]\ntime.sleep(60)"
    body = body.replace("bytes(1_000_000)", "b'x' * 1_000_000")
    python(shop, "0002_big", body, after="0001_initial")
    failure = failed(shop, memory_mb=250)
    assert "REHEARSE_MEMORY_MB allows 250" in failure.what
    assert failure.migration == "shop.0002_big"


def test_a_signal_stops_the_worker_and_its_statement(shop: Project) -> None:
    process = slow_one(shop)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode != 0
    nobody_works(shop)


def test_a_worker_whose_parent_is_gone_ends(shop: Project) -> None:
    files = shop.root / "tmp"
    files.mkdir()
    process = slow_one(replace(shop, environment={"TMPDIR": str(files)}))
    assert len(list(files.iterdir())) == 1
    process.kill()
    process.communicate(timeout=10)
    nobody_works(shop)
    assert not list(files.iterdir())


SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'postdo rehearsal'"


def slow_one(shop: Project) -> subprocess.Popen[str]:
    sleep = "migrations.RunSQL('SELECT pg_sleep(60)')"
    shop.migration("shop", "0002_slow", sleep, after="0001_initial")
    process = start(shop, job(shop))
    sleeping = f"{SESSIONS} AND query LIKE '%pg_sleep(60)%' AND state = 'active'"
    wait_for(shop, sleeping, 1)
    return process


def nobody_works(shop: Project) -> None:
    wait_for(shop, f"{SESSIONS} AND datname = current_database()", 0)


def wait_for(shop: Project, sql: str, expected: int) -> None:
    deadline = time.monotonic() + 15
    while shop.sql(sql) != [(expected,)]:
        assert time.monotonic() < deadline, shop.sql("SELECT query, state FROM pg_stat_activity")
        time.sleep(0.05)


def test_a_project_that_cannot_be_loaded_is_a_failure_with_its_place(shop: Project) -> None:
    settings(shop, "import not_there")
    failure = failed(shop)
    assert "No module named 'not_there'" in failure.what
    assert failure.migration == ""


def test_the_worker_is_not_taken_for_the_site(shop: Project) -> None:
    """Its processes are gone after each result, whatever the project's threads do."""
    body = "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()"
    python(shop, "0002_thread", body, after="0001_initial")
    began = time.monotonic()
    traced(shop)
    assert time.monotonic() - began < 20
    nobody_works(shop)


# --- Processes that a migration forks -------------------------------------------------------------

POOL = """
import multiprocessing
with multiprocessing.get_context('fork').Pool(2) as pool:
    items = apps.get_model('shop', 'Item').objects.values_list('name', flat=True)
    names = pool.map(str.upper, list(items))
with schema_editor.connection.cursor() as cursor:
    cursor.execute('SELECT pg_sleep(1)')  # long enough for a cancel that is meant for a child
    cursor.execute("UPDATE shop_item SET name = %s WHERE name = 'Cup'", [sorted(names)[0]])
"""
TERMINATED = """
import multiprocessing, time
child = multiprocessing.get_context('fork').Process(target=time.sleep, args=(60,))
child.start()
child.terminate()
child.join()
assert child.exitcode == -15, child.exitcode
with schema_editor.connection.cursor() as cursor:
    cursor.execute('SELECT pg_sleep(1)')
"""
BY_HAND = """
import os, signal
ready, tell = os.pipe()
child = os.fork()
if child == 0:
    try:
        os.write(tell, b'.')
        signal.pause()
    finally:
        os._exit(7)
os.read(ready, 1)
os.kill(child, signal.SIGINT)
assert os.waitpid(child, 0)[1] == 7 << 8
with schema_editor.connection.cursor() as cursor:
    cursor.execute('SELECT pg_sleep(1)')
"""
EXECUTOR = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
context = multiprocessing.get_context('fork')
with ProcessPoolExecutor(2, mp_context=context) as pool:
    assert list(pool.map(abs, [-1, -2])) == [1, 2]
"""
FORKS = {"pool": POOL, "terminated": TERMINATED, "by hand": BY_HAND, "executor": EXECUTOR}


@pytest.mark.parametrize("mode", ["transaction", "plain"])
@pytest.mark.parametrize("way", FORKS)
def test_a_signal_to_a_forked_child_is_not_taken_for_ours(
    shop: Project, way: str, mode: str
) -> None:
    python(shop, "0002_fork", FORKS[way].strip(), after="0001_initial")
    result = do(shop, mode)
    assert result.failure is None
    assert result.outside == ()


@pytest.mark.parametrize(
    ("way", "rehearse"), [("pool", "full"), ("pool", "off"), ("terminated", "off")]
)
def test_a_migration_that_forks_is_applied_with_and_without_a_rehearsal(
    shop: Project, way: str, rehearse: str
) -> None:
    python(shop, "0002_fork", FORKS[way].strip(), after="0001_initial")
    done = shop.run("migrate", environment={"REHEARSE": rehearse, "ON_INCOMPATIBLE": "allow"})
    assert done.code == 0, done.err
    assert ("0002_fork",) in shop.sql("SELECT name FROM django_migrations WHERE app = 'shop'")


def test_a_child_that_is_left_behind_does_not_hold_the_answer_up(shop: Project) -> None:
    body = "import os, time\nif os.fork() == 0:\n    time.sleep(60)\n    os._exit(0)"
    body += "\nimport ctypes\nctypes.CDLL(None)._exit(7)"
    python(shop, "0002_fork", body, after="0001_initial")
    began = time.monotonic()
    assert "exit code 7" in failed(shop).what
    assert time.monotonic() - began < 30


def test_a_forked_child_writes_nothing_beside_the_one_transaction(shop: Project) -> None:
    body = """
import os
from django.db import connections
if os.fork() == 0:
    connection = connections['default']
    connection.connection = None
    connection.in_atomic_block = False
    try:
        connection.cursor().execute("INSERT INTO shop_item (name) VALUES ('beside')")
    except Exception as error:
        os._exit('read-only' in str(error))
    os._exit(9)
assert os.wait()[1] == 1 << 8
"""
    python(shop, "0002_fork", body.strip(), after="0001_initial")
    done = shop.run("migrate", environment={"REHEARSE": "off", "ON_INCOMPATIBLE": "allow"})
    assert done.code == 0, done.err
    assert shop.sql("SELECT count(*) FROM shop_item WHERE name = 'beside'") == [(0,)]
