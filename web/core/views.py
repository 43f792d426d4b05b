"""The home page: what runs here, and is it well?"""

import platform
from typing import Any

import django
from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.db import Error, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from core import status


@require_safe
@never_cache
@transaction.non_atomic_requests  # a transaction would need the database that may be down
def home(request: HttpRequest) -> HttpResponse:
    """Show the state of the site; versions and names only to those who run it.

    In development that is everyone. In production it is the staff: which version of what runs
    here is the first thing that an attacker wants to know.
    """
    database = status.look()
    context: dict[str, Any] = {"database": database}
    if settings.DEBUG or (database.answers and is_staff(request)):
        context |= {
            "details": True,
            "debug": settings.DEBUG,
            "mode": settings.APP_MODE,
            "version": settings.APP_VERSION,
            # Without a tag `git describe` gives the revision itself.
            "revision": ""
            if settings.APP_REVISION.startswith(settings.APP_VERSION.removesuffix("-dirty"))
            else settings.APP_REVISION[:12],
            "django_version": django.get_version(),
            "python_version": platform.python_version(),
            "pgadmin_url": settings.PGADMIN_URL,
        }
    return render(request, "core/home.html", context)


def is_staff(request: HttpRequest) -> bool:
    """Whether a member of the staff asks; nobody does while the database cannot say so."""
    try:
        user: AbstractBaseUser | AnonymousUser = request.user
        return bool(getattr(user, "is_staff", False))
    except Error:
        return False
