"""django CMS, whose pages, titles and plugins moved to other tables between 3 and 5."""

from __future__ import annotations

from .sites import Real

SETTINGS = """
INSTALLED_APPS += ["cms", "menus", "treebeard", "sekizai"]
if NEW:
    CMS_CONFIRM_VERSION4 = True
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("de", "German")]
CMS_TEMPLATES = [("page.html", "Page")]
TEMPLATES[0]["DIRS"] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), "templates")]
TEMPLATES[0]["OPTIONS"]["context_processors"] += [
    "sekizai.context_processors.sekizai",
    "cms.context_processors.cms_settings",
]
MIDDLEWARE += [
    "django.middleware.locale.LocaleMiddleware",
    "cms.middleware.user.CurrentUserMiddleware",
    "cms.middleware.page.CurrentPageMiddleware",
]
X_FRAME_OPTIONS = "SAMEORIGIN"
"""
FILL = """
from django.contrib.auth.models import Group, User
from cms.api import create_page, create_title
from cms.models import GlobalPagePermission, PagePermission, Placeholder, StaticPlaceholder

users = [User.objects.create_superuser(f"user{n}", f"u{n}@example.com", "x") for n in range(5)]
group = Group.objects.create(name="Editors")
group.user_set.add(*users)
pages = []
for n in range(25):
    page = create_page(
        f"Page {n}", "INHERIT", "en", slug=f"page-{n}", created_by=users[n % 5],
        parent=pages[n % 3] if n > 3 else None, in_navigation=n % 2 == 0,
    )
    create_title("de", f"Seite {n}", page, slug=f"seite-{n}")
    page.placeholders.add(Placeholder.objects.create(slot="body"))
    pages.append(page)
PagePermission.objects.create(page=pages[1], group=group, can_view=True)
GlobalPagePermission.objects.create(group=group)
StaticPlaceholder.objects.create(name="Footer", code="footer")
"""

# Titles and drafts become page contents: columns and tables go, and the old release needs them.
HISTORY = {"POSTDO_SERVING": "no", "ON_LOSS": "allow"}

CMS = Real(
    name="cms",
    settings=SETTINGS,
    fill=FILL,
    least_pending=10,
    policies=HISTORY,
    # cms.0037 saves each page, and that writes when.
    by_chance={"public.cms_page": ("changed_date",)},
    files={"templates/page.html": "{% load cms_tags %}{% placeholder body %}"},
)
