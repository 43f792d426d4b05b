"""/api/notifications/."""

from typing import Any

from rest_framework.response import Response

from api.tests.client import ApiTestCase
from notifications.models import Notification

ALL = "/api/notifications/"


class NotificationsApiTests(ApiTestCase):
    """List, read, create and delete one's own."""

    def setUp(self) -> None:
        super().setUp()
        self.be(self.ada)
        self.own = [self.tell(f"text {n}") for n in range(5)]
        self.other = Notification.objects.create(recipient=self.eve, text="for eve")

    def tell(self, text: str) -> Notification:
        made: Notification = Notification.objects.create(recipient=self.ada, text=text)
        return made

    def url(self, notification: Notification) -> str:
        return f"{ALL}{notification.pk}/"

    def ids(self, **query: Any) -> list[int]:
        response = self.client.get(ALL, query)
        self.assertEqual(response.status_code, 200, response.content)
        return [one["id"] for one in response.json()["results"]]

    def assert_unchanged(self, notification: Notification) -> None:
        now = Notification.objects.filter(pk=notification.pk).values().get()
        self.assertEqual((now["text"], now["read_at"]), (notification.text, notification.read_at))

    # Who may ask.

    def test_strangers_may_nothing(self) -> None:
        self.client.credentials()
        url = self.url(self.own[0])
        answers: list[Response] = [self.client.get(ALL), self.client.post(ALL, {"text": "x"})]
        answers += [self.client.get(url), self.client.patch(url, {"read": True})]
        answers += [self.client.delete(url)]
        self.assertEqual({answer.status_code for answer in answers}, {401})
        self.assert_unchanged(self.own[0])

    def test_another_users_is_not_there(self) -> None:
        url = self.url(self.other)
        answers: list[Response] = [self.client.get(url), self.client.patch(url, {"read": True})]
        answers += [self.client.delete(url)]
        self.assertEqual({answer.status_code for answer in answers}, {404})
        self.assert_unchanged(self.other)

    def test_one_that_is_not_there_is_answered_alike(self) -> None:
        other = self.client.get(self.url(self.other))
        nobodys = self.client.get(f"{ALL}999999999999999999999/")
        self.assertEqual((nobodys.status_code, nobodys.content), (404, other.content))

    def test_staff_see_no_more_than_their_own(self) -> None:
        self.eve.is_staff = self.eve.is_superuser = True
        self.eve.save()
        self.be(self.eve)
        self.assertEqual(self.ids(), [self.other.pk])

    # List.

    def test_the_list_has_the_users_own_the_newest_first(self) -> None:
        self.assertEqual(self.ids(), [one.pk for one in reversed(self.own)])

    def test_the_list_can_leave_out_what_was_read(self) -> None:
        Notification.objects.filter(pk__in=[one.pk for one in self.own[1:]]).mark_read()
        self.assertEqual(self.ids(unread="true"), [self.own[0].pk])
        self.assertEqual(len(self.ids(unread="false")), 5)

    def test_the_list_comes_in_pages(self) -> None:
        first = self.client.get(ALL, {"limit": 3}).json()
        self.assertIs(first["more"], True)
        ids = [one["id"] for one in first["results"]]
        self.tell("one that comes in between moves nothing")
        rest = self.client.get(ALL, {"limit": 3, "before": ids[-1]}).json()
        self.assertIs(rest["more"], False)
        ids += [one["id"] for one in rest["results"]]
        self.assertEqual(ids, [one.pk for one in reversed(self.own)])

    def test_a_client_that_was_away_gets_what_it_missed_in_order(self) -> None:
        self.assertEqual(self.ids(after=self.own[1].pk), [one.pk for one in self.own[2:]])
        self.assertEqual(self.ids(after=self.own[1].pk, limit=2), [one.pk for one in self.own[2:4]])
        self.assertEqual(self.ids(after=self.own[4].pk), [])

    def test_a_query_that_makes_no_sense_is_refused(self) -> None:
        for query in ("unread=perhaps", "before=x", "after=-1", "limit=0", "limit=101", "before="):
            with self.subTest(query):
                self.assertEqual(self.client.get(f"{ALL}?{query}").status_code, 400)

    def test_the_list_costs_the_same_however_long_it_is(self) -> None:
        with self.assertNumQueries(4):  # the token with its user, the page, and the transaction
            self.ids()

    # Create.

    def test_what_is_created_is_the_users_own(self) -> None:
        response = self.client.post(ALL, {"text": "hello", "recipient": self.eve.pk})
        self.assertEqual(response.status_code, 201)
        created = Notification.objects.get(pk=response.json()["id"])
        self.assertEqual((created.recipient, created.text), (self.ada, "hello"))
        self.assertEqual(response.json()["read_at"], None)

    def test_a_text_must_be_one(self) -> None:
        for text in ("", "   ", "x" * 501, "\x00", 5, None, ["x"]):
            with self.subTest(text):
                self.assertEqual(self.client.post(ALL, {"text": text}).status_code, 400)
        self.assertEqual(self.client.post(ALL, {}).status_code, 400)

    # Read, and delete.

    def test_one_is_shown(self) -> None:
        found = self.client.get(self.url(self.own[0])).json()
        self.assertEqual((found["id"], found["text"]), (self.own[0].pk, "text 0"))

    def test_one_is_marked_read_once_and_unread_again(self) -> None:
        url = self.url(self.own[0])
        first = self.client.patch(url, {"read": True}).json()["read_at"]
        self.assertIsNotNone(first)
        self.assertEqual(self.client.patch(url, {"read": True}).json()["read_at"], first)
        self.assertIsNone(self.client.patch(url, {"read": False}).json()["read_at"])
        self.assert_unchanged(self.own[1])

    def test_a_mark_is_true_or_false(self) -> None:
        for read in ("yes", 1, None, ["x"]):
            with self.subTest(read):
                response = self.client.patch(self.url(self.own[0]), {"read": read})
                self.assertEqual(response.status_code, 400)

    def test_one_is_deleted(self) -> None:
        self.assertEqual(self.client.delete(self.url(self.own[0])).status_code, 204)
        self.assertEqual(self.client.get(self.url(self.own[0])).status_code, 404)
        self.assertEqual(Notification.objects.count(), 5)
