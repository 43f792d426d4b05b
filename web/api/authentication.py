"""Log in by ``Authorization: Bearer TOKEN``."""

from typing import TYPE_CHECKING

from rest_framework import authentication, exceptions

from api.models import Token

if TYPE_CHECKING:
    from accounts.models import User


class TokenAuthentication(authentication.TokenAuthentication):
    """REST framework's own, with the tokens of `api.models`."""

    keyword = "Bearer"

    def authenticate_credentials(self, key: str) -> "tuple[User, Token]":
        """Return the user and the token; raise for one that does not count, without a reason."""
        token = Token.objects.valid(key)
        if token is None:
            raise exceptions.AuthenticationFailed("This token is not valid, or no longer.")
        return token.user, token
