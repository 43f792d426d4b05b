"""An account is made by a link in a mail, so its address is one that its owner reads.

Until the link is used there is no row and no password: nothing to log in with, nothing to clean
up, and nobody can choose a password for a mailbox that is not theirs. The link has the address in
it, signed. It counts for as long as that of a password reset, and while the address has no account.
"""

from django.conf import settings
from django.core import signing
from django.core.mail import send_mail
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse

from accounts.fields import LowercaseEmailField
from accounts.models import User

SALT = "accounts.sign_up"


def send_link(request: HttpRequest, email: str) -> None:
    """Send the link to `email`; to the owner of an account, that there is one.

    Raises OSError if the mail server fails: `SMTPException` is one.
    """
    email = LowercaseEmailField().to_python(email)  # as an account has it
    context = {"email": email, "site": request.get_host()}
    if is_taken(email):
        template = "accounts/sign_up_taken_email.txt"
        context |= {
            "login": request.build_absolute_uri(reverse("login")),
            "password_reset": request.build_absolute_uri(reverse("password_reset")),
        }
    else:
        template = "accounts/sign_up_email.txt"
        token = signing.dumps(email, salt=SALT)
        context["link"] = request.build_absolute_uri(reverse("sign_up", kwargs={"token": token}))
    send_mail(
        f"Your account at {request.get_host()}",
        render_to_string(template, context),
        from_email=None,  # DEFAULT_FROM_EMAIL
        recipient_list=[email],
    )


def address_of(token: str) -> str | None:
    """Return the address that a link was sent to; None if the link does not count, or no longer."""
    try:
        email = signing.loads(token, salt=SALT, max_age=settings.PASSWORD_RESET_TIMEOUT)
    except signing.BadSignature:
        return None
    return None if is_taken(email) else str(email)


def is_taken(email: str) -> bool:
    """Whether there is an account with this address, active or not."""
    return bool(User.objects.filter(email=email).exists())
