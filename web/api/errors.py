"""Errors below /api/ are JSON: ``{"detail": "…"}``, or a list of reasons for each field."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from rest_framework import exceptions, status
from rest_framework.response import Response
from rest_framework.views import exception_handler

from accounts.limits import FORGOTTEN_AFTER_SECONDS, TooManyTriesError

PREFIX = "/api/"


def handle(error: Exception, context: dict[str, Any]) -> Response | None:
    """Answer what a view raises. Too many wrong passwords are no fault of the program either."""
    if isinstance(error, TooManyTriesError):
        error = exceptions.Throttled(wait=FORGOTTEN_AFTER_SECONDS)
    return exception_handler(error, context)


class WrongCredentials(exceptions.APIException):
    """No user with this address and password may log in."""

    status_code = status.HTTP_401_UNAUTHORIZED
    default_detail = "Wrong email address or password."
    auth_header = "Bearer"


class DeadLink(exceptions.APIException):
    """The token of a link that was used, is too old, or was never sent."""

    status_code = status.HTTP_404_NOT_FOUND
    default_detail = "This link does not count, or no longer."


class MailNotSent(exceptions.APIException):
    """What was asked for needs a mail, and there is none."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = "The mail could not be sent. Check the address, or try again later."


class JsonErrorsMiddleware:
    """Answer in JSON where Django would show a page: no such URL, a wrong host name, a crash."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        """Keep the next handler."""
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on; replace the page of an error, and keep its headers."""
        response = self.get_response(request)
        if (
            response.status_code < HTTPStatus.BAD_REQUEST
            or not request.path_info.startswith(PREFIX)
            or not response.get("Content-Type", "").startswith("text/html")
            or is_debug_page(response)
        ):
            return response
        detail = f"{HTTPStatus(response.status_code).phrase}."
        answer = JsonResponse({"detail": detail}, status=response.status_code)
        for name in ("Allow", "Retry-After"):
            if name in response:
                answer[name] = response[name]
        # Django logs an error for each answer of 500; it has done so already.
        answer._has_been_logged = True  # type: ignore[attr-defined]
        return answer


def is_debug_page(response: HttpResponse) -> bool:
    """Whether it is the page on which a developer looks for what went wrong."""
    return settings.DEBUG and response.status_code == HTTPStatus.INTERNAL_SERVER_ERROR
