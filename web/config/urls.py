"""Which URL leads where."""

from django.apps import apps
from django.conf import settings
from django.conf.urls.static import static
from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("core.urls")),
    path("admin/", admin.site.urls),
    # Only with DEBUG. In production the proxy serves uploads.
    *static(settings.MEDIA_URL, document_root=settings.MEDIA_ROOT),
]

# With the parts that are on (COMPOSE_PROFILES).
if apps.is_installed("api"):
    urlpatterns.append(path("api/", include("api.urls")))
if apps.is_installed("notifications"):
    urlpatterns.append(path("", include("notifications.urls")))
