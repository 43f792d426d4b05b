"""Logging in and out, a new account, and a new password for whoever has forgotten the old one.

The names of a password reset are Django's own, by which its views find each other.
"""

from django.contrib.auth import views as auth
from django.urls import path
from django.views.generic import TemplateView

from accounts import views

urlpatterns = [
    path("login/", views.Login.as_view(), name="login"),
    path("logout/", auth.LogoutView.as_view(next_page="home"), name="logout"),
    path(
        "sign-up/complete/",
        TemplateView.as_view(template_name="accounts/sign_up_complete.html"),
        name="sign_up_complete",
    ),
    path("sign-up/<token>/", views.SignUp.as_view(), name="sign_up"),
    path("password-reset/", views.PasswordReset.as_view(), name="password_reset"),
    path(
        "password-reset/sent/",
        auth.PasswordResetDoneView.as_view(template_name="accounts/password_reset_done.html"),
        name="password_reset_done",
    ),
    path(
        "reset/<uidb64>/<token>/",
        auth.PasswordResetConfirmView.as_view(template_name="accounts/password_reset_confirm.html"),
        name="password_reset_confirm",
    ),
    path(
        "reset/done/",
        auth.PasswordResetCompleteView.as_view(
            template_name="accounts/password_reset_complete.html"
        ),
        name="password_reset_complete",
    ),
]
