"""The superuser is made once, for any user model, and left alone from then on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import forkserver
import pytest
from projects import REPOSITORY, Outcome, Project, made_once, make, query

STRONG = "correct-horse-battery-7"
OTHER = "another-long-phrase-42"

EMAIL_USER = """
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models
from django.db.models.functions import Lower


class Manager(BaseUserManager):
    def get_by_natural_key(self, email):
        return self.get(email__iexact=email)

    def create_superuser(self, email, password, **more):
        user = self.model(email=self.normalize_email(email), is_superuser=True, **more)
        user.set_password(password)
        user.save(using=self._db)
        return user


class User(AbstractBaseUser, PermissionsMixin):
    email = models.EmailField(unique=True)
    full_name = models.CharField(max_length=50)
    is_staff = models.BooleanField(default=True)
    objects = Manager()
    USERNAME_FIELD = "email"
    REQUIRED_FIELDS = ["full_name"]

    class Meta:
        constraints = [models.UniqueConstraint(Lower("email"), name="one_person")]
"""


@pytest.fixture
def site(tmp_path: Path, database: str) -> Project:
    """A project with Django's own user model, migrated."""
    project = make(tmp_path, database)
    made_once(project, "superuser", lambda: succeeds(project.run("migrate")))
    return project


@pytest.fixture
def email_site(tmp_path: Path, database: str) -> Project:
    """A project whose users log in by e-mail, one address per person, not yet migrated."""
    project = make(tmp_path, database, apps=("people",), settings="AUTH_USER_MODEL = 'people.User'")
    project.write("people/models.py", EMAIL_USER)
    made = forkserver.run(
        [sys.executable, "-m", "django", "makemigrations", "people"],
        cwd=tmp_path,
        env=project.variables(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    return project


def superuser(project: Project, command: str = "superuser", **variables: str) -> Outcome:
    environment = {f"DJANGO_SUPERUSER_{name}": value for name, value in variables.items()}
    return project.run(command, environment=environment)


def succeeds(outcome: Outcome) -> None:
    assert outcome.code == 0, outcome.err


def users(project: Project) -> list[tuple[object, ...]]:
    return project.sql("SELECT username, email, is_superuser FROM auth_user ORDER BY id")


def accepts(project: Project, password: str, login: str) -> bool:
    """Whether the project itself lets this user in."""
    check = (
        "import django; django.setup(); from django.contrib.auth import authenticate;"
        f"print(authenticate(username={login!r}, password={password!r}) is not None)"
    )
    done = forkserver.run(
        [sys.executable, "-c", check],
        cwd=project.root,
        env=project.variables(),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip() == "True"


def test_nothing_asked_for_makes_nobody(site: Project) -> None:
    assert superuser(site, PASSWORD=STRONG).code == 0
    assert users(site) == []


def test_a_superuser_that_can_log_in_is_made_and_then_left_alone(site: Project) -> None:
    asked = {"USERNAME": "ada", "EMAIL": "ada@Example.com", "PASSWORD": STRONG}
    first = superuser(site, **asked)
    assert first.code == 0, first.err
    assert "superuser ada created" in first.out
    assert users(site) == [("ada", "ada@example.com", True)]
    assert accepts(site, STRONG, "ada")
    second = superuser(site, **asked)
    assert second.code == 0
    assert "user ada already exists" in second.out
    assert len(users(site)) == 1
    assert STRONG not in first.out + first.err + second.out + second.err


def test_an_address_alone_serves_as_the_user_name(site: Project) -> None:
    assert superuser(site, EMAIL="ada@example.com", PASSWORD=STRONG).code == 0
    assert users(site) == [("ada@example.com", "ada@example.com", True)]


def test_the_password_can_come_from_a_file(site: Project, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{STRONG}\n")
    outcome = superuser(site, USERNAME="ada", PASSWORD_FILE=str(tmp_path / "secret"))
    assert outcome.code == 0, outcome.err
    assert accepts(site, STRONG, "ada")


def test_a_superuser_without_a_password_is_not_made(site: Project) -> None:
    outcome = superuser(site, USERNAME="ada")
    assert outcome.code == 2
    assert "DJANGO_SUPERUSER_PASSWORD is not set" in outcome.err
    assert users(site) == []


def test_the_password_is_changed_only_when_told_to(site: Project) -> None:
    assert superuser(site, USERNAME="ada", PASSWORD=STRONG).code == 0
    assert superuser(site, USERNAME="ada", PASSWORD=OTHER).code == 0
    assert accepts(site, STRONG, "ada")
    told = superuser(site, USERNAME="ada", PASSWORD=OTHER, UPDATE_PASSWORD="on")
    assert "password of user ada changed" in told.out
    assert accepts(site, OTHER, "ada")
    again = superuser(site, USERNAME="ada", PASSWORD=OTHER, UPDATE_PASSWORD="on")
    assert "with this password" in again.out


def test_a_user_who_is_no_superuser_is_neither_promoted_nor_passed_over_in_silence(
    site: Project,
) -> None:
    assert superuser(site, USERNAME="ada", PASSWORD=STRONG).code == 0
    site.sql("UPDATE auth_user SET is_superuser = false")
    outcome = superuser(site, USERNAME="ada", PASSWORD=STRONG, UPDATE_PASSWORD="on")
    assert outcome.code == 0
    assert "user ada exists but is not a superuser" in outcome.err
    assert users(site) == [("ada", "", False)]


@pytest.mark.parametrize(
    ("password", "reason"),
    [("tiny7", "too short"), ("password123", "too common"), ("ada-lovelace", "too similar")],
)
@pytest.mark.parametrize(
    "production", [{"POSTDO_MODE": "production", "DEBUG": "on"}, {"POSTDO_MODE": "development"}]
)
def test_a_weak_password_is_refused_in_production_before_anything_is_changed(
    tmp_path: Path, database: str, password: str, reason: str, production: dict[str, str]
) -> None:
    project = Project(make(tmp_path, database).root, database, production)
    outcome = superuser(project, "prepare", USERNAME="ada-lovelace", PASSWORD=password)
    assert outcome.code == 2
    assert reason in outcome.err
    assert project.sql("SELECT to_regclass('django_migrations')") == [(None,)]


def test_the_validators_of_the_project_decide(tmp_path: Path, database: str) -> None:
    settings = (
        "AUTH_PASSWORD_VALIDATORS = [{'NAME': 'django.contrib.auth.password_validation."
        "MinimumLengthValidator', 'OPTIONS': {'min_length': 4}}]"
    )
    project = make(tmp_path, database, settings=settings)
    assert superuser(project, "prepare", USERNAME="ada", PASSWORD="12345").code == 0


def test_a_weak_password_will_do_in_development(site: Project) -> None:
    development = Project(site.root, site.url, {"POSTDO_MODE": "development", "DEBUG": "on"})
    assert superuser(development, USERNAME="ada", PASSWORD="x").code == 0


def test_a_weak_password_of_somebody_who_is_there_stops_no_start(site: Project) -> None:
    assert superuser(site, USERNAME="ada", PASSWORD=STRONG).code == 0
    assert superuser(site, "prepare", USERNAME="ada", PASSWORD="x").code == 0
    changed = superuser(site, "prepare", USERNAME="ada", PASSWORD="x", UPDATE_PASSWORD="on")
    assert changed.code == 2
    assert accepts(site, STRONG, "ada")


def test_a_user_model_with_an_address_as_login_gets_its_superuser(email_site: Project) -> None:
    asked = {"EMAIL": "Ada@EXAMPLE.com", "FULL_NAME": "Ada", "PASSWORD": STRONG}
    outcome = superuser(email_site, "prepare", **asked)
    assert outcome.code == 0, outcome.err
    assert email_site.sql("SELECT email, full_name, is_superuser FROM people_user") == [
        ("Ada@example.com", "Ada", True)
    ]
    again = superuser(email_site, "prepare", **(asked | {"EMAIL": "ada@example.COM"}))
    assert again.code == 0, again.err
    assert "already exists" in again.out
    assert email_site.sql("SELECT count(*) FROM people_user") == [(1,)]


def test_a_required_field_that_is_missing_is_named_before_anything_is_changed(
    email_site: Project,
) -> None:
    outcome = superuser(email_site, "prepare", EMAIL="ada@example.com", PASSWORD=STRONG)
    assert outcome.code == 2
    assert "people.User needs full_name, but DJANGO_SUPERUSER_FULL_NAME is not set" in outcome.err
    assert email_site.sql("SELECT to_regclass('people_user')") == [(None,)]


def test_a_value_that_its_field_does_not_take_is_named(email_site: Project) -> None:
    outcome = superuser(email_site, "prepare", EMAIL="no address", FULL_NAME="Ada", PASSWORD=STRONG)
    assert outcome.code == 2
    assert "DJANGO_SUPERUSER_EMAIL is invalid: Enter a valid email" in outcome.err


def test_before_the_migrations_it_is_refused(email_site: Project) -> None:
    outcome = superuser(email_site, EMAIL="a@example.com", FULL_NAME="Ada", PASSWORD=STRONG)
    assert outcome.code == 3
    assert "run `python -m postdo migrate`" in outcome.err


def test_somebody_else_who_makes_the_same_user_in_between_wins(email_site: Project) -> None:
    """The lock keeps `postdo` apart; a person at the admin page does not ask for it."""
    assert email_site.run("migrate").code == 0
    models = email_site.root / "people/models.py"
    insert = (
        "        from django.db import connections\n"
        "        other = connections['default'].copy()\n"
        '        other.cursor().execute("INSERT INTO people_user (email, full_name, password, "\n'
        "            \"is_superuser, is_staff) VALUES ('ADA@example.com', '', '', true, true)\")\n"
        "        other.close()\n"
    )
    start = "    def create_superuser(self, email, password, **more):\n"
    models.write_text(models.read_text().replace(start, start + insert))
    outcome = superuser(email_site, EMAIL="ada@example.com", FULL_NAME="Ada", PASSWORD=STRONG)
    assert outcome.code == 0, outcome.err
    assert "already exists" in outcome.out
    assert email_site.sql("SELECT email FROM people_user") == [("ADA@example.com",)]


def test_a_manager_that_refuses_is_reported_and_nothing_is_changed(email_site: Project) -> None:
    assert email_site.run("migrate").code == 0
    models = email_site.root / "people/models.py"
    models.write_text(
        models.read_text().replace(
            "        return user\n", "        raise ValueError('no vacancy')\n"
        )
    )
    outcome = superuser(email_site, EMAIL="ada@example.com", FULL_NAME="Ada", PASSWORD=STRONG)
    assert outcome.code == 4
    assert "could not be created: no vacancy" in outcome.err
    assert email_site.sql("SELECT count(*) FROM people_user") == [(0,)]


def test_a_project_without_users_says_what_is_missing(tmp_path: Path, database: str) -> None:
    settings = "INSTALLED_APPS = ['django.contrib.contenttypes']"
    project = make(tmp_path, database, settings=settings)
    outcome = superuser(project, "prepare", USERNAME="ada", PASSWORD=STRONG)
    assert outcome.code == 2
    assert "there is no user model" in outcome.err


def test_the_script_can_be_run_by_hand_again_and_again(site: Project) -> None:
    variables = {
        "DJANGO_SUPERUSER_USERNAME": "ada",
        "DJANGO_SUPERUSER_PASSWORD": STRONG,
        "PYTHONPATH": "",
    }
    for expected in ("superuser ada created", "user ada already exists"):
        done = subprocess.run(
            [sys.executable, str(REPOSITORY / "create-super-user.py")],
            cwd=site.root,
            env=site.variables(variables),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout
    assert query(site.url, "SELECT count(*) FROM auth_user") == [(1,)]
