"""The site's addresses with those that only development has."""

from django.urls import include, path

from config import urls

urlpatterns = [*urls.urlpatterns, path("mail/", include("devmail.urls"))]
