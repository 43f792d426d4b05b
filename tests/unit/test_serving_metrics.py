"""postdo_serving/metrics.py: what Prometheus is told; who is away hides nobody else."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from wsgiref.util import setup_testing_defaults

import psycopg2
import pytest
from projects import REPOSITORY
from prometheus_client.parser import text_string_to_metric_families

from postdo_serving import metrics

# What Caddy 2.11 says of three requests and of one that asked for this.
CADDY = """\
# TYPE caddy_http_request_duration_seconds histogram
caddy_http_request_duration_seconds_bucket{code="200",handler="subroute",method="GET",server="srv2",le="0.1"} 2
caddy_http_request_duration_seconds_bucket{code="200",handler="subroute",method="GET",server="srv2",le="+Inf"} 2
caddy_http_request_duration_seconds_sum{code="200",handler="subroute",method="GET",server="srv2"} 0.0031
caddy_http_request_duration_seconds_count{code="200",handler="subroute",method="GET",server="srv2"} 2
caddy_http_request_duration_seconds_bucket{code="503",handler="subroute",method="GET",server="srv2",le="0.1"} 0
caddy_http_request_duration_seconds_bucket{code="503",handler="subroute",method="GET",server="srv2",le="+Inf"} 1
caddy_http_request_duration_seconds_sum{code="503",handler="subroute",method="GET",server="srv2"} 5.01
caddy_http_request_duration_seconds_count{code="503",handler="subroute",method="GET",server="srv2"} 1
caddy_http_request_duration_seconds_bucket{code="200",handler="metrics",method="GET",server="srv0",le="+Inf"} 1
caddy_http_request_duration_seconds_sum{code="200",handler="metrics",method="GET",server="srv0"} 0.001
caddy_http_request_duration_seconds_count{code="200",handler="metrics",method="GET",server="srv0"} 1
# TYPE go_goroutines gauge
go_goroutines 31
"""  # noqa: E501
TASKS = """
CREATE TABLE django_tasks_database_dbtaskresult (status text, run_after timestamptz,
    enqueued_at timestamptz, finished_at timestamptz, traceback text, exception_class_path text);
INSERT INTO django_tasks_database_dbtaskresult
    VALUES ('READY', now() - interval '90 s', now() - interval '90 s', NULL, '', ''),
        ('RUNNING', now(), now(), NULL, '', '');
"""


class Caddy(http.server.BaseHTTPRequestHandler):
    """The proxy's port for its numbers."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(CADDY.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def caddy(monkeypatch: pytest.MonkeyPatch) -> Iterator[http.server.HTTPServer]:
    """One that serves, and none that it took over from."""
    with (
        http.server.HTTPServer(("127.0.0.1", 0), Caddy) as server,
        http.server.HTTPServer(("127.0.0.1", 0), Caddy) as gone,
    ):
        monkeypatch.setattr(metrics, "PROXY_PORTS", (server.server_port, gone.server_port))
        gone.server_close()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def environment(database: str, **more: str) -> dict[str, str]:
    return {
        "DATABASE_URL": database,
        "POSTDO_PROXY": "127.0.0.1",
        "POSTDO_DB": str(REPOSITORY / "db"),
        "POSTDO_BROKER": str(REPOSITORY / "broker"),
        **more,
    }


def asked(environment: dict[str, str], path: str = "/metrics") -> tuple[str, str]:
    """The status and the text of an answer."""
    environ: dict[str, object] = {}
    setup_testing_defaults(environ)
    started: list[str] = []
    body = metrics.application(environment)(
        environ | {"PATH_INFO": path}, lambda status, _headers: started.append(status)
    )
    return started[0], b"".join(body).decode()


def numbers(text: str) -> dict[str, float]:
    """By name, and the values of the labels."""
    return {
        " ".join([sample.name, *(sample.labels[key] for key in sorted(sample.labels))]): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_requests_are_told_by_status_and_duration_and_each_once(
    database: str, caddy: http.server.HTTPServer
) -> None:
    status, text = asked(environment(database))

    assert status == "200 OK"
    slot = caddy.server_port % 10
    counts = {name: value for name, value in numbers(text).items() if "seconds_count" in name}
    assert counts == {
        f"caddy_http_request_duration_seconds_count {slot} 200 GET srv2": 2,
        f"caddy_http_request_duration_seconds_count {slot} 503 GET srv2": 1,
    }
    assert 'le="0.1",method="GET",server="srv2"} 0.0' in text
    assert "go_goroutines" not in text


def test_the_database_and_its_tasks_are_told(database: str, caddy: http.server.HTTPServer) -> None:
    with psycopg2.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute(TASKS)
        connection.commit()
        found = numbers(asked(environment(database, COMPOSE_PROFILES="api,tasks-db"))[1])
    connection.close()

    assert found["postdo_database_connections"] >= 2
    assert found["postdo_database_connections_limit"] >= 10
    assert found["postdo_database_wraparound_percent"] == 0
    assert "postdo_archive_lag_bytes" not in found, "nothing is archived"
    assert (found["postdo_tasks_waiting"], found["postdo_tasks_running"]) == (1, 1)
    assert 90 <= found["postdo_tasks_oldest_seconds"] < 180
    up = {name: value for name, value in found.items() if name.startswith("postdo_up")}
    assert up == {"postdo_up proxy": 1, "postdo_up database": 1, "postdo_up tasks": 1}


@pytest.mark.usefixtures("caddy")
def test_who_does_not_answer_hides_nobody_else(capsys: pytest.CaptureFixture[str]) -> None:
    away = environment(
        "postgres://nobody:secret@127.0.0.1:1/none",
        COMPOSE_PROFILES="tasks",
        CELERY_BROKER_URL="redis://127.0.0.1:1/0",
    )

    status, text = asked(away)

    found = numbers(text)
    assert status == "200 OK"
    assert {name: found[f"postdo_up {name}"] for name in ("proxy", "database", "tasks")} == {
        "proxy": 1,
        "database": 0,
        "tasks": 0,
    }
    assert [name for name in found if "seconds_count" in name]
    assert "secret" not in capsys.readouterr().err


def test_without_a_proxy_the_others_are_there(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "PROXY_PORTS", (1, 1))

    found = numbers(asked(environment(database))[1])

    assert (found["postdo_up proxy"], found["postdo_up database"]) == (0, 1)
    assert [name for name in found if name.startswith("caddy")] == []


def test_the_health_check_asks_nobody() -> None:
    assert asked({}, "/healthy") == ("200 OK", "healthy\n")
    assert asked({}, "/")[0] == "404 Not Found"


def test_it_listens_on_this_machine_alone() -> None:
    text = Path(REPOSITORY, "docker-compose.metrics.prod.yml").read_text()
    assert text.count("ports:") == 1
    assert 'ports:\n      - "127.0.0.1:${METRICS_PORT:-9464}:8000"' in text
