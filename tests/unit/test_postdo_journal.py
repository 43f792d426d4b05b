"""The journal remembers, stays out of the way of transactions, and never stops a start."""

# ruff: noqa: S608  what looks like SQL is code that runs inside a project
from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from projects import Project, make_shop, open_connection, query
from snippets import LIGHT, begin, inside

# Something of each kind, with what text can have: quotes, umlauts, bytes that are no UTF-8.
KEEP = r"""
schema = Catalogue(15, (
    Entry("table", "public.shop_item", "public.shop_item", {"kind": "table"}),
    Entry("column", "public.shop_item", "name", {"type": "character varying(50)"}),
))
use = ModelUse("1.4", (
    TableUse("shop.Item", "shop_item", (ColumnUse("name", "character varying(50)", False),)),
))
latin = "name = 'caf\xe9'\r\n".encode("latin-1")
import hashlib
files = tuple(
    Source(("shop", name), f"shop/migrations/{name}.py", hashlib.sha256(text).hexdigest(),
           text.decode("utf-8", "surrogateescape"))
    for name, text in (("0001_initial", b"# one\n" * 2000), ("0002_latin", latin))
)
record = RunRecord(datetime(2026, 11, 21, 9, 30, tzinfo=timezone.utc), 1.5, "done", "transaction",
                   "it's done: 100 %", "1.4", "deploy@web-1", "0123456789ab",
                   ("shop.0001_initial", "shop.0002_latin"), json.dumps({"verdict": "go"}) * 500)

def keep(journal):
    journal.record(record)
    journal.keep_sources(files)
    journal.keep_expected("some-key", schema, frozenset(one.name for one in files))
    journal.keep_model_use(use)

def all_of(journal):
    return [len(journal.runs()), len(journal.sources()), journal.expected("some-key") is not None,
            journal.model_use() is not None]
"""
EVERYTHING = [1, 2, True, True]
NOTHING = [0, 0, False, False]


@pytest.fixture
def shop(tmp_path: Path, database: str) -> Project:
    return make_shop(tmp_path, database, settings=LIGHT)


@pytest.fixture
def clerk(shop: Project) -> Iterator[Project]:
    """The same project under a role that may only use what is there."""
    role, name = f"clerk_{secrets.token_hex(4)}", urlsplit(shop.url).path[1:]
    shop.sql(f"CREATE ROLE {role} LOGIN PASSWORD 'counter'")
    url = urlsplit(shop.url)
    yield replace(shop, url=f"postgres://{role}:counter@{url.hostname}:{url.port}/{name}")
    shop.sql(f"DROP OWNED BY {role}")
    shop.sql(f"DROP ROLE {role}")


def test_what_is_kept_comes_back_unchanged(shop: Project) -> None:
    answer = inside(
        shop,
        KEEP
        + """
assert journal.prepare()
keep(journal)
other = Journal(run, connect("another", 5))
(run_again,) = other.runs()
answer = [run_again == record, run_again.began.utcoffset() is not None,
          other.sources() == {one.name: one for one in files},
          other.sources()["shop", "0002_latin"].contents == latin,
          other.expected("some-key") == schema, other.expected("another"),
          other.model_use() == use]
""",
    )
    assert answer.value == [True, True, True, True, True, None, True]
    assert answer.err == ""


def test_a_file_kept_again_replaces_the_one_before_and_runs_come_newest_first(
    shop: Project,
) -> None:
    answer = inside(
        shop,
        KEEP
        + """
from dataclasses import replace
journal.prepare()
for number in range(4):
    journal.record(replace(record, what=str(number)))
text = "# edited"
edited = replace(files[0], text=text, checksum=hashlib.sha256(text.encode()).hexdigest())
journal.keep_sources(files)
journal.keep_sources((edited, edited))
journal.keep_sources(())
journal.keep_expected("first", schema, frozenset())
journal.keep_expected("second", schema, frozenset())
answer = [[one.what for one in journal.runs(3)], journal.sources()["shop", "0001_initial"].text,
          len(journal.sources()), journal.expected("first"), journal.expected("second") == schema]
""",
    )
    assert answer.value == [["3", "2", "1"], "# edited", 2, None, True]


def test_a_database_without_a_journal_gives_empty_answers_and_one_word(shop: Project) -> None:
    answer = inside(shop, KEEP + "keep(journal); answer = all_of(journal)")
    assert answer.value == NOTHING
    assert answer.out == "postdo: this database has no journal yet\n"
    assert answer.err == ""
    assert shop.sql("SELECT to_regnamespace('postdo_journal')") == [(None,)]


DAMAGE = {
    "a table is gone": "DROP TABLE postdo_journal.source",
    "the version is gone": "DELETE FROM postdo_journal.journal",
    "the version's table is gone": "DROP TABLE postdo_journal.journal",
    "bytes that cannot be decompressed": "UPDATE postdo_journal.expected "
    "SET catalogue = 'garbage'; UPDATE postdo_journal.model_use SET uses = 'garbage'; "
    "UPDATE postdo_journal.run SET plan = 'garbage'; "
    "UPDATE postdo_journal.source SET contents = 'garbage'",
    "text where bytes were": "ALTER TABLE postdo_journal.run ALTER COLUMN applied TYPE text; "
    "ALTER TABLE postdo_journal.expected ALTER COLUMN catalogue TYPE text; "
    "ALTER TABLE postdo_journal.model_use ALTER COLUMN uses TYPE text; "
    "ALTER TABLE postdo_journal.source ALTER COLUMN contents TYPE text",
    "a column is gone": "ALTER TABLE postdo_journal.run DROP COLUMN who; "
    "ALTER TABLE postdo_journal.source DROP COLUMN path",
    "a trigger forbids it": "CREATE FUNCTION postdo_journal.no() RETURNS trigger "
    "LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$; CREATE TRIGGER no BEFORE INSERT "
    "ON postdo_journal.run FOR EACH ROW EXECUTE FUNCTION postdo_journal.no()",
    "a version that is no number": "ALTER TABLE postdo_journal.journal "
    "ALTER COLUMN version TYPE text USING 'eleven'",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=list(DAMAGE))
def test_a_damaged_journal_warns_in_one_line_and_never_fails(shop: Project, damage: str) -> None:
    answer = inside(
        shop,
        KEEP
        + f"""
journal.prepare(); keep(journal)
rows(session, {damage!r})
journal = Journal(run, session)
answer = [all_of(journal), journal.prepare(), keep(journal), len(all_of(journal))]
""",
    )
    assert answer.err.startswith("postdo: warning: ")
    assert answer.err.count("\n") == 1
    assert "journal" in answer.err or "archived file" in answer.err


STATES = {
    "as it is": ("SELECT 1", [False, True]),
    "gone": ("DROP SCHEMA postdo_journal CASCADE", [True, False]),
    "newer": ("UPDATE postdo_journal.journal SET version = 99", [False, False]),
    "no version": (DAMAGE["the version is gone"], [False, False]),
    "a damaged file": (
        "UPDATE postdo_journal.source SET contents = 'x' WHERE name = '0001_initial'",
        [False, False],
    ),
}


@pytest.mark.parametrize(("change", "expected"), STATES.values(), ids=list(STATES))
def test_it_says_whether_there_is_none_and_whether_it_can_be_used(
    shop: Project, change: str, expected: list[bool]
) -> None:
    """Empty answers alone do not tell an empty journal from one that is not to be read."""
    answer = inside(
        shop,
        KEEP
        + f"""
journal.prepare(); keep(journal)
rows(session, {change!r})
other = Journal(run, session)
other.sources()
answer = [other.absent, other.usable, other.trouble]
""",
    )
    assert answer.value[:2] == expected
    assert answer.err == (f"postdo: warning: {answer.value[2]}\n" if answer.value[2] else "")
    assert (answer.value[2] == "") is any(expected)


def test_json_that_is_no_model_use_and_a_schema_of_another_form_count_as_none(
    shop: Project,
) -> None:
    answer = inside(
        shop,
        KEEP
        + """
from postdo.journal.serialization import pack
journal.prepare(); keep(journal)
answer = []
for text in ('{"release":"1","tables":[5]}', '{"tables":[]}', "[]", "{", '{"release":1}', ""):
    rows(session, "UPDATE postdo_journal.model_use SET uses = %s", pack(text))
    rows(session, "UPDATE postdo_journal.expected SET catalogue = %s", pack(text))
    journal = Journal(run, session)
    answer += [journal.model_use(), journal.expected("some-key")]
""",
    )
    assert answer.value == [None] * 12
    assert answer.err.count("is damaged") == 6


def test_an_archived_file_that_was_tampered_with_is_not_given_back(shop: Project) -> None:
    answer = inside(
        shop,
        KEEP
        + """
from postdo.journal.serialization import pack
journal.prepare(); keep(journal)
evil = "UPDATE postdo_journal.source SET contents = %s WHERE name = '0001_initial'"
rows(session, evil, pack("evil"))
answer = [name for _, name in journal.sources()]
""",
    )
    assert answer.value == ["0002_latin"]
    assert "shop.0001_initial is damaged: its checksum is wrong" in answer.err


IN_TRANSACTION = """
journal.prepare(); keep(journal)
rows(session, "CREATE TABLE diary (entry text)")
rows(session, DAMAGE)
worker = connections["default"]
mine = Journal(run, worker)
with transaction.atomic():
    with worker.cursor() as cursor:
        cursor.execute("INSERT INTO diary VALUES ('before')")
    keep(mine)
    read_inside = all_of(mine)
    with worker.cursor() as cursor:
        cursor.execute("INSERT INTO diary VALUES ('after')")
    if ROLLBACK:
        transaction.set_rollback(True)
answer = [read_inside, rows(session, "SELECT count(*) FROM diary")[0][0],
          rows(session, "SELECT count(*) FROM postdo_journal.run")[0][0]]
"""


@pytest.mark.parametrize(
    ("damage", "rollback", "expected"),
    [
        ("SELECT 1", False, [[2, 2, True, True], 2, 2]),
        ("SELECT 1", True, [[2, 2, True, True], 0, 1]),
        ("DROP TABLE postdo_journal.source", False, [[2, 0, True, True], 2, 2]),
        ("UPDATE postdo_journal.source SET contents = 'x'", True, [[2, 0, True, True], 0, 1]),
    ],
)
def test_in_a_transaction_it_is_part_of_it_and_damage_does_not_end_it(
    shop: Project, damage: str, rollback: bool, expected: list[object]
) -> None:
    code = IN_TRANSACTION.replace("DAMAGE", repr(damage)).replace("ROLLBACK", repr(rollback))
    assert inside(shop, KEEP + code).value == expected


def test_the_first_statement_of_a_transaction_may_be_the_journals(shop: Project) -> None:
    answer = inside(
        shop,
        KEEP
        + """
journal.prepare()
with transaction.atomic():
    keep(Journal(run, connections["default"]))
    transaction.set_rollback(True)
answer = all_of(journal)
""",
    )
    assert answer.value == NOTHING


def test_prepared_in_a_transaction_that_is_rolled_back_nothing_stays(shop: Project) -> None:
    answer = inside(
        shop,
        """
with transaction.atomic():
    prepared = Journal(run, connections["default"]).prepare()
    transaction.set_rollback(True)
answer = prepared
""",
    )
    assert answer.value is True
    assert shop.sql("SELECT to_regnamespace('postdo_journal')") == [(None,)]


def test_in_a_transaction_that_has_failed_already_it_only_warns(shop: Project) -> None:
    answer = inside(
        shop,
        KEEP
        + """
journal.prepare(); keep(journal)
rows(session, "BEGIN")
try:
    rows(session, "SELECT 1 / 0")
except Exception:
    answer = all_of(journal)
rows(session, "ROLLBACK")
answer = [answer, all_of(journal)]
""",
    )
    assert answer.value == [NOTHING, EVERYTHING]
    assert answer.err.count("\n") == 1


def test_a_session_that_is_lost_only_warns(shop: Project) -> None:
    answer = inside(
        shop,
        KEEP
        + """
journal.prepare(); keep(journal)
rows(connect("killer", 5), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
     "WHERE application_name = 'snippet'")
answer = all_of(journal)
""",
    )
    assert answer.value == NOTHING
    assert answer.err.count("\n") == 1


def test_a_role_that_may_not_create_a_schema_is_warned_once_and_goes_on(clerk: Project) -> None:
    answer = inside(
        clerk,
        KEEP
        + """
prepared = [journal.prepare(), journal.prepare()]
keep(journal)
answer = [prepared, all_of(journal), rows(session, "SELECT 7")[0][0]]
""",
    )
    assert answer.value == [[False, False], NOTHING, 7]
    assert answer.err.count("\n") == 1
    assert "permission denied" in answer.err
    clerks = urlsplit(clerk.url).username
    assert f"CREATE SCHEMA postdo_journal AUTHORIZATION {clerks}\n" in answer.err


def test_a_role_whose_schema_an_administrator_made_can_use_it(
    shop: Project, clerk: Project
) -> None:
    shop.sql(f"CREATE SCHEMA postdo_journal AUTHORIZATION {urlsplit(clerk.url).username}")
    answer = inside(clerk, KEEP + "answer = [journal.prepare(), keep(journal), all_of(journal)]")
    assert answer.value == [True, None, EVERYTHING]


def test_nobody_else_may_read_it(shop: Project, clerk: Project) -> None:
    shop.sql("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC")
    shop.sql("ALTER DEFAULT PRIVILEGES GRANT USAGE ON SCHEMAS TO PUBLIC")
    inside(shop, KEEP + "journal.prepare(); keep(journal)")
    answer = inside(clerk, KEEP + "answer = all_of(journal)")
    assert answer.value == NOTHING
    assert "permission denied" in answer.err
    grants = shop.sql(
        "SELECT relname FROM pg_class, aclexplode(relacl) a "
        "WHERE relnamespace = 'postdo_journal'::regnamespace AND a.grantee = 0"
    )
    assert grants == []


def test_processes_that_prepare_at_once_make_one_journal(shop: Project) -> None:
    holder = inside(shop, "answer = journal_tables.LOCK").value
    code = KEEP + "answer = journal.prepare(); keep(journal)"
    gate = f"SELECT pg_advisory_lock({holder})"
    held = open_connection(shop.url)
    held.cursor().execute(gate)
    processes = [begin(shop, code) for _ in range(3)]
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'snippet'"
    while query(shop.url, waiting) != [(3,)]:
        assert all(process.poll() is None for process in processes)
    held.close()
    for process in processes:
        printed, _ = process.communicate(timeout=60)
        assert json.loads(printed.splitlines()[-1]) == {"value": True, "out": "", "err": ""}
    assert shop.sql("SELECT version FROM postdo_journal.journal") == [(1,)]
    assert shop.sql("SELECT count(*) FROM postdo_journal.run") == [(3,)]


FURTHER = """
journal_tables.UPGRADES += (
    ("ALTER TABLE postdo_journal.run ADD COLUMN note text NOT NULL DEFAULT 'old'",
     "CREATE TABLE postdo_journal.approval (checksum text)"),
    ("ALTER TABLE postdo_journal.approval ADD COLUMN who text",),
)
"""


def test_an_older_journal_is_upgraded_step_by_step_and_keeps_what_it_has(shop: Project) -> None:
    inside(shop, KEEP + "journal.prepare(); keep(journal)")
    before = inside(shop, KEEP + FURTHER + "answer = all_of(journal)")
    assert before.value == NOTHING
    assert "the next `migrate` upgrades it to 3" in before.err
    answer = inside(shop, KEEP + FURTHER + "answer = [journal.prepare(), all_of(journal)]")
    assert answer.value == [True, EVERYTHING]
    assert "from version 1 to 3" in answer.out
    assert shop.sql("SELECT version FROM postdo_journal.journal") == [(3,)]
    assert shop.sql("SELECT note FROM postdo_journal.run") == [("old",)]
    assert shop.sql("SELECT count(*) FROM postdo_journal.approval WHERE who IS NULL") == [(0,)]


def test_an_upgrade_that_fails_leaves_the_older_journal_whole(shop: Project) -> None:
    inside(shop, KEEP + "journal.prepare(); keep(journal)")
    failing = FURTHER + "journal_tables.UPGRADES += (('SELECT 1 / 0',),)\n"
    answer = inside(shop, KEEP + failing + "answer = journal.prepare()")
    assert answer.value is False
    assert "division by zero" in answer.err
    assert shop.sql(
        "SELECT version, to_regclass('postdo_journal.approval') FROM postdo_journal.journal"
    ) == [(1, None)]
    assert inside(shop, KEEP + "answer = all_of(journal)").value == EVERYTHING


def test_a_newer_journal_is_left_alone(shop: Project) -> None:
    inside(shop, KEEP + FURTHER + "journal.prepare(); keep(journal)")
    answer = inside(shop, KEEP + "answer = [journal.prepare(), keep(journal), all_of(journal)]")
    assert answer.value == [False, None, NOTHING]
    assert answer.err.count("\n") == 1
    assert "a newer postdo created it (version 3; this postdo knows 1)" in answer.err
    assert shop.sql(
        "SELECT version, (SELECT count(*) FROM postdo_journal.run) FROM postdo_journal.journal"
    ) == [(3, 1)]
