"""Reading the environment: each kind of value, and the words when it cannot work."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from django.core.exceptions import ImproperlyConfigured
from django.test import SimpleTestCase

from config import env


class EnvTests(SimpleTestCase):
    """Each function of `config.env`."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        environment = patch.dict(os.environ, clear=True)
        environment.start()
        self.addCleanup(environment.stop)

    def file(self, content: bytes) -> str:
        """Write a file; return its path."""
        path = self.folder / "secret"
        path.write_bytes(content)
        return str(path)

    def assert_refused(self, words: str, read: Callable[..., Any], *arguments: Any) -> None:
        """Assert that reading fails with one line that has `words` in it."""
        with self.assertRaises(ImproperlyConfigured) as caught:
            read(*arguments)
        self.assertIn(words, str(caught.exception))
        self.assertNotIn("\n", str(caught.exception))

    def test_empty_counts_as_not_set(self) -> None:
        os.environ["NAME"] = ""
        self.assertEqual(env.text("NAME", "default"), "default")
        self.assert_refused("NAME is not set. Set it", env.text, "NAME")
        self.assert_refused("NAME_FILE", env.secret, "NAME")
        self.assertTrue(env.flag("NAME", default=True))
        self.assertEqual(env.integer("NAME", 7), 7)
        self.assertEqual(env.words("NAME"), [])

    def test_a_secret_may_stand_in_a_file(self) -> None:
        for content, secret in ((b"s3cret\n", "s3cret"), (b" s3\r\n", " s3"), (b"x\n\n", "x\n")):
            with self.subTest(content):
                os.environ["NAME_FILE"] = self.file(content)
                self.assertEqual(env.secret("NAME", "default"), secret)

    def test_a_secret_file_that_cannot_work_is_refused(self) -> None:
        os.environ["NAME_FILE"] = str(self.folder / "missing")
        self.assert_refused("No such file", env.secret, "NAME", "default")
        os.environ["NAME_FILE"] = self.file(b"\n")
        self.assert_refused("is empty", env.secret, "NAME")
        os.environ["NAME_FILE"] = self.file(b"\xff\xfe")
        self.assert_refused("not UTF-8", env.secret, "NAME")
        os.environ["NAME"] = "other"
        self.assert_refused("both set", env.secret, "NAME")

    def test_switches(self) -> None:
        for value, expected in (("1", True), ("On", True), ("TRUE", True), ("no", False)):
            os.environ["NAME"] = value
            self.assertIs(env.flag("NAME", default=not expected), expected)
        os.environ["NAME"] = "maybe"
        self.assert_refused("NAME is 'maybe'", lambda: env.flag("NAME", default=True))

    def test_numbers(self) -> None:
        os.environ["NAME"] = "060"
        self.assertEqual(env.integer("NAME", 1), 60)
        for value in ("-1", "1.5", "ten", "\u0661"):
            os.environ["NAME"] = value
            self.assert_refused("whole number", env.integer, "NAME", 1)

    def test_lists(self) -> None:
        os.environ["NAME"] = " a, b,,c d\n"
        self.assertEqual(env.words("NAME"), ["a", "b", "c", "d"])

    def test_parts_that_are_on(self) -> None:
        os.environ["COMPOSE_PROFILES"] = "tasks-db,api"
        self.assertEqual([env.part(name) for name in ("api", "tasks")], [True, False])

    def test_host_names(self) -> None:
        os.environ["NAME"] = "Example.com, www.example.com"
        self.assertEqual(env.host_names("NAME"), ["example.com", "www.example.com"])
        for value in ("https://example.com", "example.com/", "example.com:443", "-a.com", "a..b"):
            os.environ["NAME"] = value
            self.assert_refused("only the host name", env.host_names, "NAME")

    def test_log_levels(self) -> None:
        os.environ["NAME"] = "debug"
        self.assertEqual(env.log_level("NAME", "INFO"), "DEBUG")
        os.environ["NAME"] = "loud"
        self.assert_refused("one of DEBUG, INFO", env.log_level, "NAME", "INFO")

    def test_time_zones(self) -> None:
        self.assertEqual(env.time_zone("NAME", "UTC"), "UTC")
        for value in ("Europe/Nowhere", "../etc/passwd", "Europe"):
            os.environ["NAME"] = value
            self.assert_refused("no time zone", env.time_zone, "NAME", "UTC")

    def test_a_dotenv_file_adds_and_never_overrides(self) -> None:
        os.environ["SET"] = "environment"
        env.load_file(Path(self.file(b"SET=file\nNEW='from file' # why\n")))
        self.assertEqual((os.environ["SET"], os.environ["NEW"]), ("environment", "from file"))

    def test_a_dotenv_file_need_not_be_there_but_must_be_text(self) -> None:
        env.load_file(self.folder / "missing")
        self.assert_refused("not UTF-8", env.load_file, Path(self.file(b"A=\xff")))

    def test_the_development_database_is_known_from_its_password(self) -> None:
        self.assertIsNone(env.development_database_url())
        os.environ |= {"POSTGRES_PASSWORD": "p@ss/w", "POSTGRES_USER": "u", "DEV_DB_PORT": "5433"}
        self.assertEqual(env.development_database_url(), "postgres://u:p%40ss%2Fw@127.0.0.1:5433/u")
