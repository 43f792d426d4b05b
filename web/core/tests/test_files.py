"""Uploads: where they are kept, and how private ones are sent."""

import tempfile
from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.files.base import ContentFile
from django.core.files.storage import Storage, default_storage, storages
from django.db import models
from django.db.models.fields.files import FieldFile
from django.http import FileResponse, HttpResponse
from django.test import TestCase, override_settings

from core.files import private_file, private_storage
from core.tests.site import environment, running, running_database_url


class Order(models.Model):
    """A model as a project might have it; it has no table."""

    invoice = models.FileField(storage=private_storage, upload_to="invoices/")

    class Meta:
        """Of these tests alone."""

        app_label = "tests_of_files"
        managed = False

    def __str__(self) -> str:
        """Return what the admin would show."""
        return str(self.invoice)


class UploadsCase(TestCase):
    """Folders for one test."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        private = {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": self.root / "private", "base_url": "/private/"},
        }
        changed = settings.STORAGES | {"private": private}
        override = override_settings(MEDIA_ROOT=self.root / "media", STORAGES=changed)
        override.enable()
        self.addCleanup(override.disable)


class PublicTests(UploadsCase):
    """What a plain FileField keeps."""

    def test_an_upload_has_an_address_and_belongs_to_the_group_too(self) -> None:
        name = default_storage.save("album/cat.jpg", ContentFile(b"cat"))
        path = self.root / "media" / name
        self.assertEqual(default_storage.url(name), "/media/album/cat.jpg")
        self.assertEqual(path.stat().st_mode & 0o777, 0o664)
        self.assertEqual(path.parent.stat().st_mode & 0o777, 0o775)

    def test_the_development_server_serves_it(self) -> None:
        default_storage.save("cat.jpg", ContentFile(b"cat"))
        development = environment(
            "config.settings.dev",
            DATABASE_URL=running_database_url(),
            MEDIA_ROOT=str(self.root / "media"),
        )
        with running(development) as site:
            answer = site.get("/media/cat.jpg")
        self.assertEqual((answer.status, answer.body), (200, "cat"))


class PrivateTests(UploadsCase):
    """What a field with ``storage=private_storage`` keeps."""

    def saved(self, name: str) -> FieldFile:
        """Return a file of that name with something in it."""
        file = Order().invoice
        file.storage = private_storage()  # of this test
        file.name = file.storage.save(name, ContentFile(b"<script>"))
        return file

    def test_its_address_is_for_administrators(self) -> None:
        users = get_user_model().objects
        address = self.saved("invoices/1.pdf").url
        self.assertEqual(self.client.get(address).status_code, 302)
        self.client.force_login(users.create_user("staff@example.com", is_staff=True))
        self.assertEqual(self.client.get(address).status_code, 302)
        self.client.force_login(users.create_superuser("ada@example.com"))
        response = self.client.get(address)
        self.assertEqual(response.status_code, 200)
        self.assertEqual(response.getvalue(), b"<script>")
        self.assertEqual(response["Content-Security-Policy"], "frame-ancestors 'self'")
        self.assertEqual(self.client.get("/private/none.pdf").status_code, 404)
        for outside in ("/private/../media/cat.jpg", "/private/%2e%2e/media/cat.jpg"):
            self.assertEqual(self.client.get(outside).status_code, 400)

    def test_this_process_sends_it_where_no_proxy_does(self) -> None:
        file = self.saved("invoices/1.pdf")
        response = private_file(file)
        assert isinstance(response, FileResponse)
        self.assertEqual(response.getvalue(), b"<script>")
        self.assertEqual(response["Content-Type"], "application/pdf")
        self.assertEqual(response["Content-Disposition"], 'inline; filename="1.pdf"')

    @override_settings(X_ACCEL_REDIRECT=True)
    def test_the_proxy_is_told_its_name_and_sends_it(self) -> None:
        file = self.saved("invoices/1.pdf")
        file.name = "a b/ä?#%2e.pdf"
        response = private_file(file)
        assert isinstance(response, HttpResponse)
        self.assertEqual(response.content, b"")
        self.assertEqual(response["X-Accel-Redirect"], "/a%20b/%C3%A4%3F%23%252e.pdf")
        self.assertIn("private", response["Cache-Control"])

    @override_settings(X_ACCEL_REDIRECT=True)
    def test_what_could_run_is_a_download(self) -> None:
        for name in ("1.html", "1.svg", "1.xhtml", "1.svgz", "1.js", "1", "1.pdf.gz"):
            with self.subTest(name):
                response = private_file(self.saved(name))
                self.assertEqual(response["Content-Type"], "application/octet-stream")
                self.assertTrue(response["Content-Disposition"].startswith("attachment;"))
                self.assertIn("sandbox", response["Content-Security-Policy"])

    @override_settings(X_ACCEL_REDIRECT=True)
    def test_a_visitor_gets_it_under_another_name_to_save(self) -> None:
        response = private_file(self.saved("1.pdf"), name="Order 7.pdf", download=True)
        self.assertEqual(response["Content-Disposition"], 'attachment; filename="Order 7.pdf"')

    def test_an_object_store_sends_it_itself(self) -> None:
        class Elsewhere(Storage):
            def url(self, name: str | None) -> str:
                return f"https://store.example/{name}?signature"

        file = self.saved("1.pdf")
        file.storage = Elsewhere()
        response = private_file(file)
        self.assertEqual(response["Location"], "https://store.example/1.pdf?signature")
        self.assertIn("no-store", response["Cache-Control"])

    def test_both_storages_are_apart(self) -> None:
        self.saved("1.pdf")
        self.assertFalse(default_storage.exists("1.pdf"))
        self.assertTrue(storages["private"].exists("1.pdf"))
