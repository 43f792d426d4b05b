"""The login page, and the request for a new password."""

import logging
from typing import Any

from django.conf import settings
from django.contrib.auth import views as auth
from django.contrib.auth.forms import PasswordResetForm
from django.http import HttpResponse, HttpResponseRedirect

from accounts import limits

logger = logging.getLogger(__name__)


class Login(auth.LoginView):
    """Log in, whether staff or not; LOGIN_REDIRECT_URL says where to go from here."""

    template_name = "accounts/login.html"


class PasswordReset(auth.PasswordResetView):
    """Send a link by which a new password can be set.

    The answer is the same whether there is such a user or not.
    """

    template_name = "accounts/password_reset.html"
    email_template_name = "accounts/password_reset_email.txt"
    subject_template_name = "accounts/password_reset_subject.txt"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add whether this site can send mail at all."""
        return super().get_context_data(mail_is_set_up=settings.MAIL_IS_SET_UP, **kwargs)

    def form_valid(self, form: PasswordResetForm) -> HttpResponse:
        """Send it, unless this visitor has asked for many: nobody's mailbox is to be flooded."""
        if not limits.may_ask_for_mail(self.request, form.cleaned_data["email"]):
            logger.warning("Password reset not sent: too many were asked for from one address.")
            return HttpResponseRedirect(str(self.get_success_url()))
        return super().form_valid(form)
