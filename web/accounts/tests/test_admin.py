"""Users in the admin, as the browser sends it."""

from django.contrib.auth import get_user_model
from django.test import TestCase
from django.urls import reverse

User = get_user_model()
PASSWORD = "correct horse battery staple"
LIST = reverse("admin:accounts_user_changelist")
ADD = reverse("admin:accounts_user_add")


class UserAdminTests(TestCase):
    """Adding, changing and finding users."""

    def setUp(self) -> None:
        self.admin = User.objects.create_superuser("root@example.com", PASSWORD)
        self.client.force_login(self.admin)

    def test_the_login_page_takes_an_address_in_any_case(self) -> None:
        self.client.logout()
        form = {"username": "ROOT@Example.com", "password": PASSWORD}
        response = self.client.post(reverse("admin:login"), form)
        self.assertRedirects(response, reverse("home"))

    def test_a_user_is_added(self) -> None:
        self.assertContains(self.client.get(ADD), "Email address")
        form = {
            "email": "New@Example.com",
            "usable_password": "true",
            "password1": PASSWORD,
            "password2": PASSWORD,
        }
        response = self.client.post(ADD, form)
        user = User.objects.get(email="new@example.com")
        self.assertRedirects(response, reverse("admin:accounts_user_change", args=[user.pk]))
        self.assertTrue(user.check_password(PASSWORD))

    def test_an_address_that_is_taken_is_refused_in_any_case(self) -> None:
        form = {"email": "Root@Example.com", "usable_password": "false"}
        self.assertContains(self.client.post(ADD, form), "exists already")
        self.assertEqual(User.objects.count(), 1)

    def test_a_weak_password_is_refused(self) -> None:
        form = {
            "email": "new@example.com",
            "usable_password": "true",
            "password1": "12345678",
            "password2": "12345678",
        }
        self.assertContains(self.client.post(ADD, form), "too common")

    def test_a_user_is_changed_and_the_password_stays(self) -> None:
        user = User.objects.create_user("ada@example.com", PASSWORD)
        page = reverse("admin:accounts_user_change", args=[user.pk])
        self.assertContains(self.client.get(page), "ada@example.com")
        form = {"email": "Ada.King@example.com", "name": "Ada King", "is_active": "on"}
        self.assertRedirects(self.client.post(page, form), LIST)
        user.refresh_from_db()
        self.assertEqual((user.email, user.name), ("ada.king@example.com", "Ada King"))
        self.assertTrue(user.check_password(PASSWORD))

    def test_users_are_found_by_address_and_name(self) -> None:
        User.objects.create_user("ada@example.com", name="Countess Lovelace")
        for words in ("ADA@", "lovelace"):
            with self.subTest(words):
                self.assertContains(self.client.get(LIST, {"q": words}), "ada@example.com")
        self.assertNotContains(self.client.get(LIST, {"q": "nobody"}), "ada@example.com")
