"""The JSON formatter."""

import json
import logging
import sys
from typing import Any

from django.test import RequestFactory, SimpleTestCase

from config.logs import JsonFormatter


class JsonFormatterTests(SimpleTestCase):
    """One record, one line, one object."""

    def format(self, message: str, *arguments: object, **attributes: Any) -> dict[str, Any]:
        """Return the parsed line of a record with further `attributes`."""
        record = logging.LogRecord(
            "site.orders", logging.WARNING, __file__, 1, message, arguments, None
        )
        vars(record).update(attributes)
        line = JsonFormatter().format(record)
        self.assertNotIn("\n", line)
        self.assertTrue(line.isascii())
        parsed = json.loads(line)
        assert isinstance(parsed, dict)
        return parsed

    def test_a_record_has_time_level_logger_and_message(self) -> None:
        entry = self.format("%s of %d\nü\u2028", "one", 2, created=1_700_000_000.5)
        self.assertEqual(
            entry,
            {
                "time": "2023-11-14T22:13:20.500+00:00",
                "level": "WARNING",
                "logger": "site.orders",
                "message": "one of 2\nü\u2028",
            },
        )

    def test_extras_are_kept_and_cannot_pose_as_the_level(self) -> None:
        entry = self.format("x", order=7, who=self, level="DEBUG")
        self.assertEqual((entry["order"], entry["who"]), (7, str(self)))
        self.assertEqual(entry["level"], "WARNING")

    def test_an_exception_is_in_the_same_line(self) -> None:
        try:
            raise ValueError("broken")
        except ValueError:
            entry = self.format("x", exc_info=sys.exc_info())
        self.assertIn("ValueError: broken", entry["exception"])

    def test_of_a_request_only_method_and_path_are_kept(self) -> None:
        request = RequestFactory().get("/reset/?token=s3cret")
        entry = self.format("x", request=request)
        self.assertEqual((entry["method"], entry["path"]), ("GET", "/reset/"))
        self.assertNotIn("s3cret", json.dumps(entry))
