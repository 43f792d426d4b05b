"""Sign up, log in, log out, and who am I?"""

from typing import cast

from django.contrib.auth import authenticate
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe
from drf_spectacular.utils import extend_schema
from rest_framework import generics, permissions, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import User
from api.authentication import TokenAuthentication
from api.errors import WrongCredentials
from api.models import Token
from api.serializers import (
    ErrorSerializer,
    LoginSerializer,
    SignUpSerializer,
    TokenSerializer,
    UserSerializer,
)
from api.throttles import LoginThrottle, RequestThrottle, SignUpThrottle


class SignUpView(generics.CreateAPIView[User]):
    """Make an account. Log in with it at /api/login/."""

    authentication_classes = ()
    permission_classes = (permissions.AllowAny,)
    throttle_classes = (RequestThrottle, SignUpThrottle)
    serializer_class = SignUpSerializer


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
