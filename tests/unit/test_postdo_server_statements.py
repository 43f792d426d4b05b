"""What counts as a change of the server in SQL: what is run, and not what is only written."""

from __future__ import annotations

import pytest

from postdo.rehearsal.server_statements import beyond, shared

RUN = [
    "CREATE ROLE clerk",
    "-- it's new\nCREATE ROLE clerk",
    "SELECT 'a -- b'; CREATE ROLE clerk",
    "SELECT ';'; DO $$ BEGIN CREATE ROLE clerk; END $$",
    "DO LANGUAGE plpgsql 'BEGIN CREATE ROLE clerk; END'",
    "DO $do$ BEGIN EXECUTE 'CREATE ROLE clerk'; END $do$",
    "DO $$ DECLARE it text := 'CREATE ROLE clerk'; BEGIN EXECUTE it; END $$",
    "/* first */ DO $$ BEGIN GRANT pg_monitor TO clerk; END $$ LANGUAGE plpgsql",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE ROLE clerk",
    "/* new */ create\n user clerk PASSWORD 'x'",
    "ALTER ROLE CURRENT_USER SET statement_timeout = '1h'",
    "GRANT pg_monitor TO clerk",
    "ALTER SYSTEM SET work_mem = '5MB'",
    "CREATE DATABASE other",
    "ALTER DATABASE site SET work_mem = '5MB'",
    "ALTER DATABASE site RENAME TO other",
    "ALTER DATABASE site CONNECTION LIMIT 3",
    "COMMENT ON DATABASE site IS 'made'",
    "GRANT CONNECT ON DATABASE site TO PUBLIC",
    "CREATE TABLESPACE other LOCATION '/elsewhere'",
]
BEYOND = [
    "COPY page TO PROGRAM 'touch made'",
    "COPY page TO '/elsewhere/made'",
    "SELECT lo_export(lo_from_bytea(0, 'x'), '/elsewhere/made')",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'none'",
    "SELECT dblink_exec('dbname=site', 'DELETE FROM page')",
    "SELECT pg_create_physical_replication_slot('other')",
]
WRITTEN = [
    "INSERT INTO page (text) VALUES ('how to EXECUTE a FUNCTION; GRANT access TO people')",
    "INSERT INTO page (text) VALUES ($$CALL us; CREATE ROLE clerk$$) ON CONFLICT DO NOTHING",
    "COMMENT ON FUNCTION f() IS 'GRANT access TO people'",
    "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN CREATE ROLE clerk; END $$",
    "create or replace procedure p(a text default 'x') language plpgsql as "
    "$body$ begin execute 'create role clerk'; end $body$",
    "CREATE TRIGGER t AFTER INSERT ON page EXECUTE FUNCTION f('GRANT access TO people')",
    "DO $$ BEGIN INSERT INTO page (text) VALUES ('GRANT access TO people'); END $$",
    "SELECT 1 -- CREATE ROLE clerk",
]


@pytest.mark.parametrize("sql", RUN)
def test_what_is_run_counts(sql: str) -> None:
    assert shared(sql, "copy")


@pytest.mark.parametrize("sql", BEYOND)
def test_what_no_transaction_takes_back_counts(sql: str) -> None:
    assert beyond(sql)


@pytest.mark.parametrize("sql", WRITTEN)
def test_what_is_only_written_does_not(sql: str) -> None:
    assert shared(sql, "copy") == ""


def test_a_function_that_no_transaction_takes_back_counts_where_it_is_defined() -> None:
    """Its call cannot be told from others, and would be too late."""
    body = "BEGIN PERFORM pg_terminate_backend(1); END"
    define = f"CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ {body} $$"
    assert beyond(define)
    assert beyond("DO $$ BEGIN COPY page TO PROGRAM 'x'; END $$")
    assert beyond("COMMENT ON FUNCTION f() IS 'calls pg_terminate_backend(1)'") == ""
