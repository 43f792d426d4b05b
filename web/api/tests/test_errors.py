"""Errors below /api/ are JSON, and elsewhere pages."""

from typing import Any
from unittest.mock import patch

from django.test import override_settings

from api import views
from api.tests.client import ApiTestCase


class ErrorTests(ApiTestCase):
    """Whoever finds the fault: REST framework, Django, or nobody."""

    def assert_error(self, response: Any, status: int, detail: str) -> None:
        self.assertEqual(response.status_code, status)
        self.assertEqual(response["Content-Type"], "application/json")
        self.assertEqual(response.json(), {"detail": detail})

    def test_there_is_nothing_at_this_url(self) -> None:
        for debug in (False, True):
            with self.subTest(debug=debug), override_settings(DEBUG=debug):
                self.assert_error(self.client.get("/api/nothing/"), 404, "Not Found.")

    def test_a_crash_tells_nothing(self) -> None:
        self.be(self.ada)
        self.client.raise_request_exception = False
        with patch.object(views.MeView, "get_object", side_effect=RuntimeError("s3cret")):
            response = self.client.get("/api/me/")
        self.assert_error(response, 500, "Internal Server Error.")

    @override_settings(DEBUG=True)
    def test_a_developer_sees_why_it_crashed(self) -> None:
        self.be(self.ada)
        self.client.raise_request_exception = False
        with patch.object(views.MeView, "get_object", side_effect=RuntimeError("the reason")):
            response = self.client.get("/api/me/")
        self.assertContains(response, "the reason", status_code=500)

    def test_a_host_name_that_nobody_allowed(self) -> None:
        response = self.client.get("/api/me/", headers={"host": "other.example"})
        self.assert_error(response, 400, "Bad Request.")

    def test_a_method_that_is_not_for_this_url(self) -> None:
        response = self.client.get("/api/login/")
        self.assert_error(response, 405, 'Method "GET" not allowed.')
        self.assertIn("POST", response["Allow"])
        response = self.client.post("/api/docs/")
        self.assertEqual((response.status_code, response["Allow"]), (405, "GET, HEAD"))

    def test_what_is_no_json(self) -> None:
        response = self.client.generic("POST", "/api/login/", "{", content_type="application/json")
        self.assertContains(response, "JSON parse error", status_code=400)

    def test_a_form_is_not_understood(self) -> None:
        response = self.client.generic("POST", "/api/login/", "a=b", content_type="text/plain")
        self.assertEqual(response.status_code, 415)

    def test_pages_stay_pages(self) -> None:
        self.assertContains(self.client.get("/no-such-page"), "</html>", status_code=404)
