"""The login page, a new account, and the request for a new password."""

import logging
from typing import Any

from django.conf import settings
from django.contrib.auth import views as auth
from django.contrib.auth.forms import PasswordResetForm
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse_lazy
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.generic import FormView

from accounts import forms, limits, sign_up
from accounts.models import User

logger = logging.getLogger(__name__)


class Login(auth.LoginView):
    """Log in, whether staff or not; LOGIN_REDIRECT_URL says where to go from here."""

    template_name = "accounts/login.html"


@method_decorator((sensitive_post_parameters(), never_cache), name="dispatch")
class SignUp(FormView):
    """Make the account, where the link in the mail leads.

    Not by opening it: programs that check the links in mail do that, but they send no form.
    """

    form_class = forms.SignUpForm
    template_name = "accounts/sign_up.html"
    success_url = reverse_lazy("sign_up_complete")
    email: str

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Look whether the link still counts."""
        email = sign_up.address_of(kwargs["token"])
        if email is None:
            return self.refuse()
        self.email = email
        return super().dispatch(request, *args, **kwargs)

    def get_form_kwargs(self) -> dict[str, Any]:
        """Let the form complete an account with this address, which no password may resemble."""
        return super().get_form_kwargs() | {"instance": User(email=self.email)}

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add whose account it will be."""
        return super().get_context_data(email=self.email, **kwargs)

    def form_valid(self, form: forms.SignUpForm) -> HttpResponse:
        """Make the account, unless the link was used a moment ago."""
        try:
            with transaction.atomic():
                form.save()
        except IntegrityError:
            return self.refuse()
        return super().form_valid(form)

    def refuse(self) -> HttpResponse:
        """Say that the link does not count."""
        return render(self.request, self.template_name)


class PasswordReset(auth.PasswordResetView):
    """Send a link by which a new password can be set.

    The answer is the same whether there is such a user or not.
    """

    form_class = forms.PasswordResetForm
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
