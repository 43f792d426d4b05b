"""The pages of this application."""

from django.urls import path

from devmail import views

app_name = "devmail"

urlpatterns = [
    path("", views.mails, name="mails"),
    path("delete/", views.delete, name="delete"),
    path("<slug:name>/", views.mail, name="mail"),
    path("<slug:name>/html/", views.html, name="html"),
    path("<slug:name>/raw/", views.raw, name="raw"),
]
