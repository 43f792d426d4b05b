"""Wagtail, a CMS: a tree of pages, revisions, images, documents; and an app of the site's own."""

from __future__ import annotations

from .sites import Real

SETTINGS = """
CORE = "wagtail" if NEW else "wagtail.core"
WAGTAIL_SITE_NAME = "Real"
WAGTAILADMIN_BASE_URL = "https://example.com"
INSTALLED_APPS += [
    "wagtail.contrib.forms",
    "wagtail.contrib.redirects",
    "wagtail.contrib.search_promotions",
    "wagtail.embeds",
    "wagtail.sites",
    "wagtail.users",
    "wagtail.snippets",
    "wagtail.documents",
    "wagtail.images",
    "wagtail.search",
    "wagtail.admin",
    CORE,
    "modelcluster",
    "taggit",
    "home",
]
"""
MODELS = """
from django.db import models

try:
    from wagtail.fields import RichTextField
    from wagtail.models import Page
except ImportError:
    from wagtail.core.fields import RichTextField
    from wagtail.core.models import Page


class Article(Page):
    intro = models.CharField(max_length=100)
    body = RichTextField(blank=True)
    picture = models.ForeignKey(
        "wagtailimages.Image", null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
"""
INITIAL = """
import django.db.models.deletion
from django.db import migrations, models

try:
    from wagtail.fields import RichTextField
except ImportError:
    from wagtail.core.fields import RichTextField


class Migration(migrations.Migration):
    initial = True
    dependencies = [
        ("wagtailcore", "0041_group_collection_permissions_verbose_name_plural"),
        ("wagtailimages", "0001_squashed_0021"),
    ]
    operations = [
        migrations.CreateModel(
            "Article",
            [
                ("page_ptr", models.OneToOneField(
                    auto_created=True, on_delete=django.db.models.deletion.CASCADE,
                    parent_link=True, primary_key=True, serialize=False, to="wagtailcore.Page")),
                ("intro", models.CharField(max_length=100)),
                ("body", RichTextField(blank=True)),
                ("picture", models.ForeignKey(
                    blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL,
                    related_name="+", to="wagtailimages.Image")),
            ],
            options={"abstract": False},
            bases=("wagtailcore.page",),
        )
    ]
"""
FILL = """
from django.contrib.auth.models import Group, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone
from wagtail.core.models import (
    Collection, GroupCollectionPermission, GroupPagePermission, Page, PageViewRestriction,
)
from wagtail.contrib.redirects.models import Redirect
from wagtail.documents.models import Document
from wagtail.images.models import Image
from wagtail.search.models import Query
from django.contrib.auth.models import Permission

from home.models import Article

users = [User.objects.create_user(f"user{n}", f"u{n}@example.com", "x") for n in range(10)]
group = Group.objects.create(name="Writers")
group.user_set.add(*users[:4])
root = Page.objects.get(depth=1)
collection = Collection.get_first_root_node().add_child(name="Photos")
images = [
    Image.objects.create(
        title=f"Image {n}", file=f"original_images/{n}.png", width=10, height=n + 1,
        collection=collection, uploaded_by_user=users[n % 10],
    )
    for n in range(15)
]
images[0].tags.add("red", "blue")
for n in range(5):
    Document.objects.create(
        title=f"Paper {n}", file=SimpleUploadedFile(f"{n}.txt", b"text"), collection=collection
    )
parents = [
    root.get_children().first().add_child(
        instance=Article(title=f"Part {n}", slug=f"part-{n}", intro="I", owner=users[n])
    )
    for n in range(4)
]
for n in range(60):
    page = parents[n % 4].add_child(instance=Article(
        title=f"Article {n}", slug=f"article-{n}", intro=f"Intro {n}", body=f"<p>{n}</p>",
        picture=images[n % 15], owner=users[n % 10], live=n % 7 != 0,
    ))
    revision = page.save_revision(
        user=users[n % 10], submitted_for_moderation=n % 9 == 0,
        approved_go_live_at=timezone.now() if n % 11 == 0 else None,
    )
    if n % 2:
        revision.publish()
GroupPagePermission.objects.create(group=group, page=parents[0], permission_type="edit")
GroupPagePermission.objects.create(group=group, page=parents[1], permission_type="lock")
GroupCollectionPermission.objects.create(
    group=group, collection=collection, permission=Permission.objects.get(codename="add_image")
)
PageViewRestriction.objects.create(page=parents[2], restriction_type="password", password="x")
for n in range(10):
    Redirect.objects.create(old_path=f"/old-{n}", redirect_page=parents[n % 4])
Query.get("books").add_hit()
"""
# Page revisions and counted searches move to other tables. Wagtail 6 has rewritten migrations that
# Wagtail 2 had applied (wagtailsearchpromotions.0001): a first look must not take that for drift.

WAGTAIL = Real(
    name="wagtail",
    settings=SETTINGS,
    fill=FILL,
    least_pending=40,
    policies={"POSTDO_SERVING": "no", "ON_LOSS": "allow"},
    by_chance={
        "public.wagtailcore_page": ("translation_key",),  # a random UUID for each page
        "public.wagtailredirects_redirect": ("created_at",),  # the moment of the migration
    },
    files={
        "home/__init__.py": "",
        "home/models.py": MODELS,
        "home/migrations/__init__.py": "",
        "home/migrations/0001_initial.py": INITIAL,
    },
)
