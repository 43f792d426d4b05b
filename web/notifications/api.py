"""Notifications over REST. Every query begins with `of`, so nobody sees another user's."""

from typing import Any, cast

from django.http import Http404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import User
from api.fields import FlagField, ModelSerializer
from notifications.models import Notification, NotificationQuerySet

LARGEST_ID = 2**63 - 1


class NotificationSerializer(ModelSerializer[Notification]):
    """A notification as its recipient sees it."""

    class Meta:
        """The recipient is whoever asks."""

        model = Notification
        fields = ("id", "text", "created", "delivered_at", "read_at")
        read_only_fields = ("id", "created", "delivered_at", "read_at")


class MarkSerializer(serializers.Serializer[Any]):
    """Whether it was read."""

    read = FlagField()


class ListQuery(serializers.Serializer[Any]):
    """Which notifications, and how many."""

    unread = FlagField(default=False, help_text="Only those that are not read yet.")
    before = serializers.IntegerField(
        required=False,
        min_value=1,
        max_value=LARGEST_ID,
        help_text="Older than this id: the next page.",
    )
    after = serializers.IntegerField(
        required=False,
        min_value=0,
        max_value=LARGEST_ID,
        help_text="Newer than this id, the oldest first: what a client that was away has missed.",
    )
    limit = serializers.IntegerField(default=20, min_value=1, max_value=100)


class PageSerializer(serializers.Serializer[Any]):
    """Some of them, and whether there are more."""

    results = NotificationSerializer(many=True)
    more = serializers.BooleanField(help_text="Whether there are more in the same direction.")


def own(request: Request) -> NotificationQuerySet:
    """Return the notifications of the user who asks."""
    found: NotificationQuerySet = Notification.objects.of(cast("User", request.user))
    return found


class NotificationsView(APIView):
    """The notifications of the user who asks."""

    @extend_schema(
        operation_id="notifications_list", parameters=[ListQuery], responses=PageSerializer
    )
    def get(self, request: Request) -> Response:
        """List them, the newest first."""
        form = ListQuery(data=request.query_params.dict())
        form.is_valid(raise_exception=True)
        query = form.validated_data
        found = own(request)
        if query["unread"]:
            found = found.unread()
        if "before" in query:
            found = found.filter(pk__lt=query["before"])
        if "after" in query:
            found = found.after(query["after"])
        rows = list(found[: query["limit"] + 1])
        page = {"results": rows[: query["limit"]], "more": len(rows) > query["limit"]}
        return Response(PageSerializer(page).data)

    @extend_schema(request=NotificationSerializer, responses={201: NotificationSerializer})
    def post(self, request: Request) -> Response:
        """Send one to yourself."""
        form = NotificationSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        form.save(recipient=request.user)
        return Response(form.data, status=status.HTTP_201_CREATED)


class NotificationView(APIView):
    """One notification. Those of others are not there."""

    def get_object(self, pk: int) -> Notification:
        """Return the one with the id `pk` if it is the user's."""
        try:
            return own(self.request).get(pk=pk)
        except Notification.DoesNotExist as error:
            raise Http404 from error

    @extend_schema(responses=NotificationSerializer)
    def get(self, request: Request, pk: int) -> Response:
        """Show it."""
        return Response(NotificationSerializer(self.get_object(pk)).data)

    @extend_schema(request=MarkSerializer, responses=NotificationSerializer)
    def patch(self, request: Request, pk: int) -> Response:
        """Mark it as read, or as not read."""
        form = MarkSerializer(data=request.data, partial=True)
        form.is_valid(raise_exception=True)
        notification = self.get_object(pk)
        read = form.validated_data.get("read", notification.read_at is not None)
        if read != (notification.read_at is not None):
            notification.read_at = timezone.now() if read else None
            notification.save(update_fields=["read_at"])
        return Response(NotificationSerializer(notification).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, pk: int) -> Response:
        """Delete it."""
        self.get_object(pk).delete()
        return Response(status=status.HTTP_204_NO_CONTENT)
