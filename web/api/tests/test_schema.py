"""The OpenAPI document, and the page to try it."""

import os
import re
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from unittest import skipUnless

from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.staticfiles import finders
from django.core.management import call_command
from django.test import LiveServerTestCase, tag

from api.finders import SwaggerUiFinder
from api.tests.client import PASSWORD, ApiTestCase, without_throttles

CONFIG = Path(__file__).with_name("schemathesis.toml")
SECONDS = 600  # it takes ten on a quiet machine


class SchemaTests(ApiTestCase):
    """/api/schema/ and /api/docs/."""

    def test_the_document_is_valid_and_complete(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = str(Path(folder, "schema.yml"))
            call_command("spectacular", file=file, validate=True, fail_on_warn=True)

    def test_the_document_has_every_endpoint(self) -> None:
        paths = self.client.get("/api/schema/?format=json").json()["paths"]
        expected = {
            *("/api/sign-up/", "/api/sign-up/confirm/"),
            *("/api/login/", "/api/logout/", "/api/me/"),
        }
        if apps.is_installed("notifications"):
            expected |= {"/api/notifications/", "/api/notifications/{id}/"}
        self.assertEqual(set(paths), expected)

    def test_the_page_is_made_of_the_sites_own_files_and_nothing_inline(self) -> None:
        response = self.client.get("/api/docs/")
        page = response.content.decode()
        self.assertIn("default-src 'self'", response["Content-Security-Policy"])
        self.assertNotRegex(page, r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=|https?://")
        files = re.findall(r'(?:src|href)="/static/([^"]+)"', page)
        self.assertEqual(len(files), 4)
        for file in files:
            with self.subTest(file):
                self.assertIsNotNone(finders.find(file))

    def test_swagger_ui_is_complete_without_its_other_files(self) -> None:
        files = {name: storage.open(name).read() for name, storage in SwaggerUiFinder().list()}
        told = {
            found.decode()
            for content in files.values()
            for found in re.findall(rb"# sourceMappingURL=([\w.-]+)", content)
        }
        self.assertLessEqual(told, files.keys(), "collectstatic would refuse the others")


@tag("slow")
@skipUnless(find_spec("schemathesis"), "schemathesis is in requirements/test.txt")
class SchemathesisTests(LiveServerTestCase):
    """A program that reads the document asks for all that it says, and for what it rules out."""

    def test_it_finds_no_difference_between_the_document_and_the_site(self) -> None:
        get_user_model().objects.create_user("ada@example.com", PASSWORD)
        with tempfile.TemporaryDirectory() as folder, without_throttles():
            found = subprocess.run(
                [
                    *(sys.executable, "-m", "schemathesis.cli"),
                    *("--config-file", str(CONFIG), "run", "--seed", "1"),
                    f"{self.live_server_url}/api/schema/?format=json",
                ],
                cwd=folder,
                env=os.environ | {"API_EMAIL": "ada@example.com", "API_PASSWORD": PASSWORD},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
        self.assertEqual(found.returncode, 0, found.stdout + found.stderr)
        # It asked, and with a token that counted.
        self.assertNotIn("returned only 401/403", found.stdout)
