"""Tasks on Celery: what is sent, and when. No Redis is needed: the sending is noted."""

import os
import subprocess
import sys
from typing import Any
from unittest.mock import patch

from django.db import transaction
from django.test import SimpleTestCase, TransactionTestCase, override_settings
from django_tasks import task
from django_tasks.base import TaskContext

from config.celery import app

ON_CELERY = {"default": {"BACKEND": "config.task_backend.CeleryBackend", "QUEUES": []}}
CALLS: list[Any] = []


def add(number: int) -> None:
    """The function of a task."""
    CALLS.append(number)


def tell(context: TaskContext, number: int) -> None:
    """One that wants to know what it is run as."""
    CALLS.append((context.task_result.id, number))


@override_settings(TASKS=ON_CELERY)
class CeleryBackendTests(TransactionTestCase):
    """`enqueue()` with the part `tasks`."""

    def setUp(self) -> None:
        CALLS.clear()
        sending = patch.object(app, "send_task")
        self.sent = sending.start()
        self.addCleanup(sending.stop)

    def test_a_task_is_sent_by_its_path_to_its_queue(self) -> None:
        result = task(add).using(queue_name="slow").enqueue(1)
        (name,), given = self.sent.call_args
        self.assertEqual(name, f"{__name__}.add")
        self.assertEqual((given["args"], given["queue"]), ([1], "slow"))
        self.assertEqual(given["task_id"], result.id)

    def test_within_a_transaction_it_is_sent_after_the_commit(self) -> None:
        with transaction.atomic():
            task(add).enqueue(1)
            self.sent.assert_not_called()
        self.sent.assert_called_once()

    def test_a_transaction_that_is_rolled_back_sends_nothing(self) -> None:
        with self.assertRaises(ZeroDivisionError), transaction.atomic():
            task(add).enqueue(1)
            raise ZeroDivisionError
        self.sent.assert_not_called()

    def test_celery_knows_each_task_and_runs_its_function(self) -> None:
        task(add), task(takes_context=True)(tell)
        app.tasks[f"{__name__}.add"](5)
        app.tasks[f"{__name__}.tell"].apply((6,), task_id="the id")
        self.assertEqual(CALLS, [5, ("the id", 6)])


class InTheProcessTests(SimpleTestCase):
    """`enqueue()` without the part."""

    def test_it_runs_at_once(self) -> None:
        CALLS.clear()
        result = task(add).enqueue(3)
        self.assertEqual((CALLS, result.status), ([3], "SUCCESSFUL"))

    def test_the_backend_is_that_of_the_parts_that_are_on(self) -> None:
        """A part without a broker, as in a build or in -2, counts as off."""
        code = "from config.settings.test import *; print(TASKS['default']['BACKEND'])"
        url = {"CELERY_BROKER_URL": "redis://redis/0"}
        here = os.environ | {"POSTDO_MODE": "development"}  # whatever these tests run in
        for parts, broker, backend in (
            ("", url, "ImmediateBackend"),
            ("tasks", {}, "ImmediateBackend"),
            ("api,tasks", url, "CeleryBackend"),
            ("tasks-db", {}, "DatabaseBackend"),
            ("tasks-db", {"POSTDO_MODE": "local"}, "ImmediateBackend"),
        ):
            with self.subTest(parts):
                said = subprocess.run(
                    [sys.executable, "-c", code],
                    env={**here, "COMPOSE_PROFILES": parts, **broker},
                    capture_output=True,
                    text=True,
                    check=True,
                ).stdout
                self.assertTrue(said.strip().endswith(f".{backend}"), said)
