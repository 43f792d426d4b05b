"""Which URL below /api/ leads where. Applications add theirs in their own urls.py."""

from django.urls import path
from drf_spectacular.views import SpectacularAPIView

from api import views

urlpatterns = [
    path("sign-up/", views.SignUpView.as_view(), name="api-sign-up"),
    path("sign-up/confirm/", views.ConfirmView.as_view(), name="api-sign-up-confirm"),
    path("login/", views.LoginView.as_view(), name="api-login"),
    path("logout/", views.LogoutView.as_view(), name="api-logout"),
    path("me/", views.MeView.as_view(), name="api-me"),
    path("schema/", SpectacularAPIView.as_view(), name="api-schema"),
    path("docs/", views.docs, name="api-docs"),
]
