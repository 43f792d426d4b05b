# mypy: disable-error-code="import-not-found"
"""The two measured pages, before those of the starter."""

from django.urls import include, path

from bench_pages import views

urlpatterns = [
    path("bench/plain", views.plain),
    path("bench/query", views.query),
    path("bench/large", views.large),
    path("bench/upload", views.upload),
    path("", include("config.urls")),
]
