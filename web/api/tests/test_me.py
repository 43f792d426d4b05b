"""/api/me/."""

from rest_framework.test import APIClient

from api.tests.client import ApiTestCase


class MeTests(ApiTestCase):
    """What users see and change of themselves."""

    def test_strangers_are_asked_for_a_token(self) -> None:
        response = self.client.get("/api/me/")
        self.assertEqual((response.status_code, response["WWW-Authenticate"]), (401, "Bearer"))

    def test_users_see_themselves(self) -> None:
        self.be(self.ada)
        found = self.client.get("/api/me/").json()
        self.assertEqual((found["id"], found["email"]), (self.ada.pk, "ada@example.com"))
        self.assertEqual(found.keys(), {"id", "email", "name", "created"})

    def test_the_name_may_be_changed(self) -> None:
        self.be(self.ada)
        self.assertEqual(self.client.patch("/api/me/", {"name": "Ada King"}).status_code, 200)
        self.ada.refresh_from_db()
        self.assertEqual(self.ada.name, "Ada King")

    def test_nothing_else_may_be_changed(self) -> None:
        self.be(self.ada)
        changes = {"email": "x@example.com", "is_staff": True, "password": "x", "id": self.eve.pk}
        before = type(self.ada).objects.values().get(pk=self.ada.pk)
        self.client.patch("/api/me/", changes)
        after = type(self.ada).objects.values().get(pk=self.ada.pk)
        self.assertEqual(after | {"modified": None}, before | {"modified": None})

    def test_who_is_logged_in_to_the_site_is_known_here(self) -> None:
        self.client.force_login(self.ada)
        self.assertEqual(self.client.get("/api/me/").json()["id"], self.ada.pk)

    def test_a_form_on_another_site_changes_nothing(self) -> None:
        browser = APIClient(enforce_csrf_checks=True)
        browser.force_login(self.ada)
        self.assertEqual(browser.patch("/api/me/", {"name": "Eve"}).status_code, 403)

    def test_requests_are_limited_for_each_user(self) -> None:
        self.be(self.ada)
        statuses = [self.client.get("/api/me/").status_code for _ in range(301)]
        self.assertEqual(statuses, [200] * 300 + [429])
        self.be(self.eve)
        self.assertEqual(self.client.get("/api/me/").status_code, 200)
