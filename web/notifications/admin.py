"""Notifications in the admin, from where staff may send one to any user."""

from django.contrib import admin

from notifications.models import Notification


@admin.register(Notification)
class NotificationAdmin(admin.ModelAdmin):
    """The newest first, found by text and address."""

    list_display = ("text", "recipient", "created", "read_at")
    list_filter = ("created",)
    list_select_related = ("recipient",)
    search_fields = ("text", "recipient__email")
    autocomplete_fields = ("recipient",)
    readonly_fields = ("created", "delivered_at")
