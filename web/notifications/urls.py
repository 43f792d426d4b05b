"""The page of this application, and with the part ``api`` its endpoints."""

from django.apps import apps
from django.urls import path

from notifications import views

urlpatterns = [
    path("notifications/", views.notifications, name="notifications"),
    path("notifications/read/", views.read, name="notifications-read"),
]

if apps.is_installed("api"):
    from notifications import api

    urlpatterns += [
        path("api/notifications/", api.NotificationsView.as_view(), name="api-notifications"),
        path(
            "api/notifications/<int:pk>/", api.NotificationView.as_view(), name="api-notification"
        ),
    ]
