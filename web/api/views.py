"""Sign up, log in, log out, and who am I?"""

import logging
from typing import cast

from django.conf import settings
from django.contrib.auth import authenticate
from django.contrib.auth.password_validation import validate_password
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_safe
from drf_spectacular.utils import extend_schema
from rest_framework import exceptions, generics, permissions, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import limits, sign_up
from accounts.models import User
from api.authentication import TokenAuthentication
from api.errors import DeadLink, MailNotSent, WrongCredentials
from api.models import Token
from api.serializers import (
    ConfirmSerializer,
    DetailSerializer,
    ErrorSerializer,
    LoginSerializer,
    SignUpSerializer,
    TokenSerializer,
    UserSerializer,
)
from api.throttles import LoginThrottle, RequestThrottle, SignUpThrottle

logger = logging.getLogger(__name__)


# No transaction is open, and keeps others waiting, while the mail server is waited for.
@method_decorator(transaction.non_atomic_requests, name="dispatch")
class SignUpView(APIView):
    """A mail with a link to a page that makes an account."""

    authentication_classes = ()
    permission_classes = (permissions.AllowAny,)
    throttle_classes = (RequestThrottle, SignUpThrottle)

    @extend_schema(
        request=SignUpSerializer, responses={202: DetailSerializer, 503: ErrorSerializer}
    )
    def post(self, request: Request) -> Response:
        """Send a mail with a link. It leads to a page on which to choose a password.

        Then log in at /api/login/. The answer is the same whether the address has an account or
        not; if it has one, the mail says so. 503: this site could not send it.
        """
        form = SignUpSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        if not settings.MAIL_IS_SET_UP:
            raise MailNotSent("This site cannot send mail yet, so nobody can sign up.")
        email = form.validated_data["email"]
        if not limits.may_ask_for_mail(request._request, email):
            raise exceptions.Throttled(wait=limits.FORGOTTEN_AFTER_SECONDS)
        try:
            sign_up.send_link(request._request, email)
        except OSError as error:
            logger.exception("Sign-up: the mail was not sent.")
            raise MailNotSent from error
        sent = DetailSerializer({"detail": "A mail with a link is on its way to this address."})
        return Response(sent.data, status=status.HTTP_202_ACCEPTED)


class ConfirmView(APIView):
    """An account, for whoever has the link in the mail."""

    authentication_classes = ()
    permission_classes = (permissions.AllowAny,)

    @extend_schema(request=ConfirmSerializer, responses={201: UserSerializer, 404: ErrorSerializer})
    def post(self, request: Request) -> Response:
        """Make the account, as the page behind the link in the mail does.

        The token is the last part of the link. It counts once. Then log in at /api/login/.
        404: it does not count, or no longer.
        """
        form = ConfirmSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        email = sign_up.address_of(form.validated_data["token"])
        if email is None:
            raise DeadLink
        user = User(email=email, name=form.validated_data.get("name", ""))
        password = form.validated_data["password"]
        try:
            validate_password(password, user)
        except ValidationError as error:
            raise exceptions.ValidationError({"password": error.messages}) from error
        user.set_password(password)
        try:
            with transaction.atomic():
                user.save()
        except IntegrityError as error:  # the link was used a moment ago
            raise DeadLink from error
        return Response(UserSerializer(user).data, status=status.HTTP_201_CREATED)


class LoginView(APIView):
    """A token for an email address and a password."""

    authentication_classes = ()
    permission_classes = (permissions.AllowAny,)
    throttle_classes = (RequestThrottle, LoginThrottle)

    @extend_schema(request=LoginSerializer, responses={200: TokenSerializer, 401: ErrorSerializer})
    def post(self, request: Request) -> Response:
        """Trade an email address and a password for a token, which is shown this once.

        Send it with each request: `Authorization: Bearer TOKEN`. It ends after 14 days, with a new
        password, or at /api/logout/.
        """
        form = LoginSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        # By the backend that counts wrong passwords, as every other login.
        found = authenticate(
            request._request,
            username=form.validated_data["email"],
            password=form.validated_data["password"],
        )
        if found is None:
            raise WrongCredentials
        key, token = Token.objects.issue(found)
        user_logged_in.send(sender=User, request=request._request, user=found)
        answer = TokenSerializer({"token": key, "expires": token.expires}).data
        return Response(answer, headers={"Cache-Control": "no-store"})


class LogoutView(APIView):
    """The end of a token."""

    authentication_classes = (TokenAuthentication,)

    @extend_schema(request=None, responses={204: None})
    def post(self, request: Request) -> Response:
        """Let the token of this request count no more."""
        cast("Token", request.auth).delete()
        user_logged_out.send(sender=User, request=request._request, user=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class MeView(generics.RetrieveUpdateAPIView[User]):
    """Who the token is of; the name may be changed."""

    serializer_class = UserSerializer
    http_method_names = ("get", "head", "options", "patch")

    def get_object(self) -> User:
        """Return the user who asks, and nobody else."""
        return cast("User", self.request.user)


@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    """Show the page on which each endpoint can be tried."""
    return render(request, "api/docs.html")
