"""/metrics for Prometheus, of the part `metrics`: `python -m postdo_serving.metrics [HOST [PORT]]`.

Each request to /metrics asks the proxy, PostgreSQL and the tasks anew, and nothing is kept between
two. What does not answer is left out, and `postdo_up` says so. Requests are counted by Caddy, which
sees all of them, whatever color and process answers.

Environment in: DATABASE_URL, CELERY_BROKER_URL, COMPOSE_PROFILES; POSTDO_DB and POSTDO_BROKER, the
folders with what `sh run.sh status` asks too (db/, broker/); POSTDO_PROXY, the proxy's name.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import ThreadingWSGIServer
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

PORT = 8000
SECONDS = 3  # for each answer: Prometheus itself waits for 10 by default
PROXY_PORTS = (2030, 2031)  # a Caddy that takes over from another has the other one
REQUESTS = "caddy_http_request_duration_seconds"
ONCE = "subroute"  # Caddy's handler around the whole site, which each request passes once
# The facts that status shows: the name that they have here, and what they are.
FACTS = {
    "connections": ("database_connections", "Connections to PostgreSQL."),
    "connections_limit": ("database_connections_limit", "Connections that PostgreSQL accepts."),
    "transaction": ("database_transaction_seconds", "Age of the oldest open transaction."),
    "wraparound": ("database_wraparound_percent", "Transaction numbers that are used up."),
    "kept": ("archive_lag_bytes", "What PostgreSQL keeps until the archive has it."),
    "waiting": ("tasks_waiting", "Tasks that wait for a worker."),
    "running": ("tasks_running", "Tasks that run."),
    "oldest": ("tasks_oldest_seconds", "For how long the oldest of them has been waiting."),
    "failed": ("tasks_failed", "Tasks that failed in the last 24 hours."),
}
Environment = Mapping[str, str]
Application = Callable[..., Any]


class Site(Collector):
    """All that is known at the moment of a request."""

    def __init__(self, environment: Environment) -> None:
        """Keep who is to be asked."""
        self.environment = environment
        parts = environment.get("COMPOSE_PROFILES", "").split(",")
        self.asked: dict[str, Callable[[Environment], list[Metric]]] = {
            "proxy": of_proxy,
            "database": of_database,
            **({"tasks": of_redis} if "tasks" in parts else {}),
            **({"tasks": of_tasks_in_database} if "tasks-db" in parts else {}),
        }

    def collect(self) -> Iterator[Metric]:
        """Ask each of them."""
        up = GaugeMetricFamily("postdo_up", "Whether it answered.", labels=["service"])
        for name, ask in self.asked.items():
            try:
                yield from ask(self.environment)
            # Whatever is wrong with one hides no other; the drivers have errors of their own.
            except Exception as error:  # noqa: BLE001
                print(f"{name}: {error}", file=sys.stderr, flush=True)
                up.add_metric([name], 0)
            else:
                up.add_metric([name], 1)
        yield up


# --- Who is asked -------------------------------------------------------------------------------


def of_proxy(environment: Environment) -> list[Metric]:
    """Requests by status, method and duration, of each Caddy that runs. Raises ``URLError``."""
    found = Metric(REQUESTS, "Requests that were answered, by status and duration.", "histogram")
    trouble: Exception = URLError("no answer")
    answered = 0
    for port in PROXY_PORTS:
        try:
            text = answer_of(f"http://{environment.get('POSTDO_PROXY') or 'proxy'}:{port}/metrics")
        except OSError as error:
            trouble = error
            continue
        answered += 1
        found.samples += of_requests(text, port)
    if not answered:
        raise trouble
    return [found]


def of_requests(text: str, port: int) -> list[Any]:
    """What Caddy says of them, without its own words for where they passed."""
    return [
        sample._replace(
            labels={
                "code": sample.labels["code"],
                "method": sample.labels["method"],
                # Those of port 80, and those of HTTPS.
                "server": sample.labels["server"],
                "caddy": str(port % 10),
                **({"le": sample.labels["le"]} if "le" in sample.labels else {}),
            }
        )
        for family in text_string_to_metric_families(text)
        if family.name == REQUESTS
        for sample in family.samples
        if sample.labels["handler"] == ONCE
    ]


def answer_of(url: str) -> str:
    """Of the proxy itself, past a proxy of the company."""
    with build_opener(ProxyHandler({})).open(url, timeout=SECONDS) as answer:
        text: str = answer.read().decode()
    return text


def of_database(environment: Environment) -> list[Metric]:
    """Connections, transactions, and what the archive lags behind."""
    folder = Path(environment["POSTDO_DB"])
    return gauges(ask_database(environment, folder / "facts.sql", folder / "archive/slot.sql"))


def of_tasks_in_database(environment: Environment) -> list[Metric]:
    """Of the part tasks-db."""
    return gauges(ask_database(environment, Path(environment["POSTDO_DB"], "tasks.sql")))


def of_redis(environment: Environment) -> list[Metric]:
    """Of the part tasks."""
    redis = importlib.import_module("redis")
    broker = redis.Redis.from_url(environment["CELERY_BROKER_URL"], socket_timeout=SECONDS)
    script = Path(environment["POSTDO_BROKER"], "tasks.lua").read_text(encoding="utf-8")
    with broker:
        answer: bytes = broker.eval(script, 0)
    return gauges(answer.decode())


def ask_database(environment: Environment, *files: Path) -> str:
    """What the statements of these files answer, as the site's own role."""
    name = "psycopg" if importlib.util.find_spec("psycopg") else "psycopg2"
    connection = importlib.import_module(name).connect(
        environment["DATABASE_URL"],
        connect_timeout=SECONDS,
        options=f"-c statement_timeout={SECONDS}s",
        application_name="metrics",
    )
    lines = []
    try:
        with connection.cursor() as cursor:
            for file in files:
                for statement in file.read_text(encoding="utf-8").split(";\n"):
                    if statement:
                        cursor.execute(statement)
                        lines += [row[0] for row in cursor.fetchall()]
    finally:
        connection.close()
    return "\n".join(lines)


def gauges(facts: str) -> list[Metric]:
    """Of KEY=VALUE lines, those with a number."""
    values = dict(line.split("=", 1) for line in facts.splitlines())
    return [
        GaugeMetricFamily(f"postdo_{name}", what, value=float(values[key]))
        for key, (name, what) in FACTS.items()
        if values.get(key)
    ]


# --- The server ---------------------------------------------------------------------------------


def application(environment: Environment) -> Application:
    """For WSGI. /healthy asks nobody: this container is well if PostgreSQL is not."""
    registry = CollectorRegistry()
    registry.register(Site(environment))
    metrics = make_wsgi_app(registry)

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Any:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            return metrics(environ, start)
        start("200 OK" if path == "/healthy" else "404 Not Found", [("Content-Type", "text/plain")])
        return [b"healthy\n" if path == "/healthy" else b"ask for /metrics\n"]

    return answer


class Quiet(WSGIRequestHandler):
    """Without a line in the log for each request."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # as it is called there
        """Say nothing."""


def main(arguments: list[str]) -> None:
    """Serve until a signal ends it."""
    host, port = (*arguments, *("0.0.0.0", str(PORT))[len(arguments) :])  # noqa: S104
    with make_server(
        host, int(port), application(os.environ), ThreadingWSGIServer, handler_class=Quiet
    ) as server:
        server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
