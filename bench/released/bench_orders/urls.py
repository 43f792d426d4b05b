# mypy: disable-error-code="import-not-found"
"""The pages that visitors ask for, before the measured ones and those of the starter."""

from django.urls import include, path

from bench_orders import views

urlpatterns = [
    path("bench/order", views.order),
    path("bench/slow", views.slow),
    path("bench/upload", views.upload),
    path("bench/revision", views.revision),
    path("", include("bench_pages.urls")),
]
