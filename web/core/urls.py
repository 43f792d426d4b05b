"""The pages of this application."""

from django.urls import path

from core import files, views

urlpatterns = [
    path("", views.home, name="home"),
    path("private/<path:name>", files.for_the_admin),
]
