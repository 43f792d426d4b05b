"""What clients of a stream get, over WebSockets and as server-sent events."""

import asyncio
from http import HTTPStatus
from unittest import mock

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.db import connection, transaction
from django.test import TransactionTestCase, override_settings

from live import watch
from live.hub import KEPT, hub
from live.stream import Item
from live.tests.clients import Events, Rows, Socket, log_in, served, until
from live.websocket import INTERNAL_ERROR, TRY_AGAIN_LATER, UNAUTHORIZED


class StreamTests(TransactionTestCase):
    """Each test has a real PostgreSQL, which tells of what is committed."""

    def setUp(self) -> None:
        self.rows = Rows()

    async def test_a_client_gets_what_it_missed_and_then_what_is_new_each_once(self) -> None:
        ada, cookie = await log_in()
        self.rows.of[ada] = [{"id": 1}, {"id": 2}, {"id": 3}]
        async with served(self.rows) as site:
            socket = Socket(site, cookie, after="1")
            await socket.connect()
            self.assertEqual(await socket.ids(2), [2, 3])
            await self.rows.add_soon(ada, 4, 6)
            self.assertEqual(await socket.ids(2), [4, 6])
            await socket.disconnect()

            again = Socket(site, cookie, after="4")
            await again.connect()
            self.assertEqual(await again.ids(1), [6])
            await again.disconnect()
            self.assertTrue(again.output_queue.empty())
        self.assertEqual(hub.feeds, {})

    async def test_without_an_id_a_client_gets_what_is_new(self) -> None:
        ada, cookie = await log_in()
        self.rows.of[ada] = [{"id": 1}]
        async with served(self.rows) as site:
            socket = Socket(site, cookie)
            await socket.connect()
            await until(
                lambda: all(feed.opened.done() for feed in hub.feeds.values()) and hub.feeds
            )
            await self.rows.add_soon(ada, 2)
            self.assertEqual(await socket.ids(1), [2])
            await socket.disconnect()

    async def test_a_client_that_is_far_behind_gets_everything(self) -> None:
        ada, cookie = await log_in()
        async with served(self.rows) as site:
            near = Socket(site, cookie, after="0")
            await near.connect()
            count = 3 * KEPT + 7
            await self.rows.add_soon(ada, *range(1, count + 1))
            self.assertEqual(await near.ids(count), list(range(1, count + 1)))
            far = Socket(site, cookie, after="5")
            await far.connect()
            self.assertEqual(await far.ids(count - 5), list(range(6, count + 1)))
            self.assertLessEqual(max(len(feed.kept) for feed in hub.feeds.values()), KEPT)
            await near.disconnect()
            await far.disconnect()

    async def test_users_get_their_own_rows_alone(self) -> None:
        ada, cookie = await log_in()
        bob, _ = await log_in("bob@example.com")
        async with served(self.rows) as site:
            socket = Socket(site, cookie, after="0")
            await socket.connect()
            await self.rows.add_soon(bob, 1)
            await self.rows.add_soon(ada, 2)
            self.assertEqual(await socket.ids(1), [2])
            await socket.disconnect()

    async def test_what_is_rolled_back_is_not_told(self) -> None:
        ada, _ = await log_in()

        def undone() -> None:
            with transaction.atomic():
                self.rows.add(ada, 1)
                transaction.set_rollback(True)

        async with served(self.rows):
            with mock.patch.object(hub, "tell", wraps=hub.tell) as tell:
                await sync_to_async(undone)()
                await self.rows.add_soon(ada, 2)
                await until(lambda: tell.called)
                tell.assert_called_once()

    async def test_nothing_is_lost_while_the_database_cannot_tell(self) -> None:
        ada, cookie = await log_in()

        def end_listener() -> None:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND query = 'LISTEN live' "
                    "AND pid <> pg_backend_pid()"
                )

        async with served(self.rows) as site:
            socket = Socket(site, cookie, after="0")
            await socket.connect()
            await self.rows.add_soon(ada, 1)
            self.assertEqual(await socket.ids(1), [1])
            with self.assertLogs("live.hub", "WARNING"):
                await sync_to_async(end_listener)()
                await until(lambda: not hub.listens)
            await self.rows.add_soon(ada, 2)
            self.assertEqual(await socket.ids(1), [2])
            await socket.disconnect()

    async def test_a_stream_that_fails_closes_its_clients(self) -> None:
        ada, cookie = await log_in()
        self.rows.of[ada] = [{"id": 1, "value": object()}]  # no JSON
        async with served(self.rows) as site:
            socket = Socket(site, cookie, after="0")
            with self.assertLogs("live.websocket", "ERROR"):
                await socket.connect()
                self.assertEqual(await socket.code(), INTERNAL_ERROR)
            await socket.disconnect()


class WhoTests(TransactionTestCase):
    """Who may watch, and for how long."""

    def setUp(self) -> None:
        self.rows = Rows()

    async def test_strangers_are_told_so(self) -> None:
        async with served(self.rows) as site:
            socket = Socket(site)
            self.assertTrue(await socket.connect())
            self.assertEqual(await socket.code(), UNAUTHORIZED)
            self.assertEqual(await Events(site).status(), HTTPStatus.FORBIDDEN)

    async def test_pages_of_other_sites_are_refused(self) -> None:
        _, cookie = await log_in()
        async with served(self.rows) as site:
            for origin in ("http://evil.example", "http://testserver.evil.example", "null", ""):
                self.assertFalse(await Socket(site, cookie, origin=origin).connect())

    async def test_who_logs_out_or_is_deactivated_sees_no_more(self) -> None:
        await log_in()
        ends = {
            "log out": Session.objects.all().delete,
            "deactivated": lambda: get_user_model().objects.update(is_active=False),
        }
        for name, end in ends.items():
            with self.subTest(name), mock.patch.object(watch, "CHECK_SECONDS", 0.01):
                _, cookie = await log_in(f"{name.replace(' ', '-')}@example.com")
                async with served(self.rows) as site:
                    socket, events = Socket(site, cookie), Events(site, cookie)
                    await socket.connect()
                    self.assertEqual(await events.status(), HTTPStatus.OK)
                    await sync_to_async(end)()
                    self.assertEqual(await socket.code(), UNAUTHORIZED)
                    while (await events.body())[1]:
                        pass
                    await socket.disconnect()

    async def test_nobody_has_more_pages_open_than_there_may_be(self) -> None:
        (_, ada), (_, bob) = await log_in(), await log_in("bob@example.com")
        async with served(self.rows) as site:
            with mock.patch.object(watch, "PAGES", 2):
                sockets = [Socket(site, cookie) for cookie in (ada, ada, bob)]
                for socket in sockets:
                    await socket.connect()
                await until(lambda: sum(feed.readers for feed in hub.feeds.values()) == 3)
                events, third = Events(site, ada), Socket(site, ada)
                await third.connect()
                self.assertEqual(await third.code(), TRY_AGAIN_LATER)
                self.assertEqual(await events.status(), HTTPStatus.OK)
                self.assertTrue((await events.body())[1])
                self.assertEqual(await events.body(), ("", False))
                for socket in (*sockets, third):
                    await socket.disconnect()
        self.assertEqual(hub.feeds, {})

    async def test_a_client_that_takes_nothing_is_closed(self) -> None:
        ada, cookie = await log_in()
        self.rows.of[ada] = [{"id": 1}]

        async def never(_: list[Item]) -> None:
            await asyncio.Event().wait()

        async with served(self.rows) as site:
            with (
                mock.patch.object(watch, "SEND_SECONDS", 0.01),
                mock.patch("live.websocket.StreamConsumer.send_items", side_effect=never),
            ):
                socket = Socket(site, cookie, after="0")
                await socket.connect()
                self.assertEqual(await socket.code(), TRY_AGAIN_LATER)
                await socket.disconnect()


class EventTests(TransactionTestCase):
    """Server-sent events: the same rows, for whoever has no WebSocket."""

    def setUp(self) -> None:
        self.rows = Rows()

    async def test_a_browser_that_comes_back_gets_what_it_missed(self) -> None:
        ada, cookie = await log_in()
        self.rows.of[ada] = [{"id": 7}, {"id": 8}]
        async with served(self.rows) as site:
            events = Events(site, cookie, (b"last-event-id", b"7"), path="/events/rows/?after=1")
            self.assertEqual(await events.status(), HTTPStatus.OK)
            self.assertRegex((await events.body())[0], r"\Aretry: \d+\n\n\Z")
            self.assertEqual(await events.body(), ('id: 8\ndata: {"id": 8}\n\n', True))
            await self.rows.add_soon(ada, 9)
            self.assertEqual(await events.body(), ('id: 9\ndata: {"id": 9}\n\n', True))
            await events.send_input({"type": "http.disconnect"})
            await events.wait()
        self.assertEqual(hub.feeds, {})

    async def test_the_stream_ends_whole_when_the_server_ends(self) -> None:
        _, cookie = await log_in()
        closing = asyncio.Event()
        async with served(self.rows) as site:
            events = Events(site, cookie, state={"closing": closing})
            self.assertEqual(await events.status(), HTTPStatus.OK)
            self.assertTrue((await events.body())[1])
            closing.set()
            self.assertEqual(await events.body(), ("", False))
            await events.wait()

    async def test_only_get_is_answered(self) -> None:
        async with served(self.rows) as site:
            self.assertEqual(
                await Events(site, method="POST").status(), HTTPStatus.METHOD_NOT_ALLOWED
            )

    @override_settings(ROOT_URLCONF="config.urls")
    async def test_other_pages_are_djangos(self) -> None:
        async with served(self.rows) as site:
            self.assertEqual(await Events(site, path="/healthz").status(), HTTPStatus.OK)

    async def test_health_is_whether_the_database_tells(self) -> None:
        async with served(self.rows) as site:
            path = "/events/healthz"
            self.assertEqual(await Events(site, path=path).status(), HTTPStatus.OK)
            await hub.stop()
            answer = await Events(site, path=path).status()
            self.assertEqual(answer, HTTPStatus.SERVICE_UNAVAILABLE)
