"""The page on which users read what they were told."""

from typing import cast

from django.apps import apps
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from accounts.models import User
from notifications.models import Notification

ON_A_PAGE = 50


@require_safe
@never_cache
@login_required
def notifications(request: HttpRequest) -> HttpResponse:
    """Show the newest notifications of the user who asks."""
    own = Notification.objects.of(cast("User", request.user))
    newest = list(own[:ON_A_PAGE])
    context = {
        "notifications": newest,
        "unread": own.unread().count(),
        "last": newest[0].pk if newest else 0,  # a script that is told of news begins here
        "live": apps.is_installed("live"),
    }
    return render(request, "notifications/notifications.html", context)


@require_POST
@login_required
def read(request: HttpRequest) -> HttpResponse:
    """Mark everything as read, and show the page again."""
    Notification.objects.of(cast("User", request.user)).mark_read()
    return redirect("notifications")
