"""Which URL leads where."""

from django.apps import apps
from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("core.urls")),
    path("admin/", admin.site.urls),
]

# With the parts that are on (COMPOSE_PROFILES).
if apps.is_installed("api"):
    urlpatterns.append(path("api/", include("api.urls")))
if apps.is_installed("notifications"):
    urlpatterns.append(path("", include("notifications.urls")))
