"""Which URL leads where."""

from django.apps import apps
from django.conf import settings
from django.conf.urls.static import static
from django.contrib import admin
from django.urls import include, path

from accounts.views import PasswordReset

handler500 = "core.errors.server_error"

urlpatterns = [
    path("", include("core.urls")),
    path("accounts/", include("accounts.urls")),
    # By this name the admin's own login page has a link to it.
    path("admin/password_reset/", PasswordReset.as_view(), name="admin_password_reset"),
    path("admin/", admin.site.urls),
    # Only with DEBUG. In production the proxy serves uploads.
    *static(settings.MEDIA_URL, document_root=settings.MEDIA_ROOT),
]

# With the parts that are on (COMPOSE_PROFILES).
if apps.is_installed("api"):
    urlpatterns.append(path("api/", include("api.urls")))
if apps.is_installed("notifications"):
    urlpatterns.append(path("", include("notifications.urls")))
if settings.DEBUG and apps.is_installed("devmail"):
    urlpatterns.append(path("mail/", include("devmail.urls")))

# In development (config/settings/dev.py).
if apps.is_installed("debug_toolbar"):
    urlpatterns.append(path("__debug__/", include("debug_toolbar.urls")))
