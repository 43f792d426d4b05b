"""The settings modules, each loaded by a process of its own."""

import json
import re
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import skipUnless

from django.test import SimpleTestCase

from core.tests.site import NOBODY_LISTENS, SECRET_KEY, environment, manage, python


def production(**variables: str) -> dict[str, str]:
    """Return an environment that is enough for production, and `variables`."""
    enough = {"SECRET_KEY": SECRET_KEY, "DATABASE_URL": NOBODY_LISTENS}
    return environment("config.settings.prod", **(enough | variables))


def setting(env: dict[str, str], name: str) -> Any:
    """Return the setting `name` as a process with the environment `env` has it."""
    code = f"import json; from django.conf import settings; print(json.dumps(settings.{name}))"
    result = python(env, "-c", code)
    if result.returncode:
        raise AssertionError(result.stderr)
    return json.loads(result.stdout)


class ProductionSettingsTests(SimpleTestCase):
    """What production refuses, and what it makes of the environment."""

    def assert_refused(self, env: dict[str, str], words: str) -> None:
        """Assert that nothing starts, and that one line says why."""
        result = manage(env, "check")
        self.assertNotEqual(result.returncode, 0)
        self.assertEqual(result.stdout, "")
        self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)
        self.assertIn(words, result.stderr)

    def test_the_deployment_check_is_clean_with_a_domain(self) -> None:
        env = production(DOMAIN="www.example.com")
        result = manage(env, "check", "--deploy", "--fail-level", "WARNING")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("no issues", result.stdout)
        self.assertEqual(result.stderr, "")

    def test_no_check_is_silenced_when_the_owner_has_decided(self) -> None:
        env = production(
            DOMAIN="www.example.com",
            HSTS_SECONDS="31536000",
            HSTS_INCLUDE_SUBDOMAINS="on",
            HSTS_PRELOAD="on",
        )
        result = manage(env, "check", "--deploy", "--fail-level", "WARNING")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("no issues (0 silenced)", result.stdout)

    def test_the_deployment_check_warns_of_debug(self) -> None:
        result = manage(production(DOMAIN="www.example.com", DEBUG="on"), "check", "--deploy")
        self.assertIn("security.W018", result.stderr)

    def test_without_a_secret_key_nothing_starts(self) -> None:
        self.assert_refused(production(SECRET_KEY=""), "SECRET_KEY is not set. Set it")

    def test_without_a_database_nothing_starts(self) -> None:
        # Not even when .env could say where the development database is.
        env = production(DATABASE_URL="", POSTGRES_PASSWORD="x")
        self.assert_refused(env, "DATABASE_URL is not set. Set it")

    def test_a_domain_that_is_a_url_is_refused(self) -> None:
        self.assert_refused(production(DOMAIN="https://example.com"), "DOMAIN holds")

    def test_secrets_may_stand_in_files(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            key, url = Path(folder, "key"), Path(folder, "url")
            key.write_text("from-the-file-" * 4 + "\n", encoding="utf-8")
            url.write_text("postgres://a:b@db/from_file\n", encoding="utf-8")
            env = production(
                SECRET_KEY="",
                DATABASE_URL="",
                SECRET_KEY_FILE=str(key),
                DATABASE_URL_FILE=str(url),
            )
            self.assertEqual(setting(env, "SECRET_KEY"), "from-the-file-" * 4)
            self.assertEqual(setting(env, "DATABASES")["default"]["NAME"], "from_file")

    def test_debug_is_off_unless_asked_for(self) -> None:
        self.assertIs(setting(production(), "DEBUG"), False)
        self.assertIs(setting(production(DEBUG="true"), "DEBUG"), True)

    def test_the_domain_joins_the_hosts_and_origins_that_are_set(self) -> None:
        env = production(
            DOMAIN="example.com,www.example.com",
            ALLOWED_HOSTS="old.example",
            CSRF_TRUSTED_ORIGINS="https://old.example",
        )
        hosts = ["old.example", "example.com", "www.example.com"]
        self.assertEqual(setting(env, "ALLOWED_HOSTS"), hosts)
        origins = [f"https://{host}" for host in hosts]
        self.assertEqual(setting(env, "CSRF_TRUSTED_ORIGINS"), origins)


class DevelopmentSettingsTests(SimpleTestCase):
    """What development makes of the environment."""

    def test_it_starts_on_what_the_env_file_says_of_the_database(self) -> None:
        env = environment(
            "config.settings.dev",
            POSTGRES_PASSWORD="pw",
            POSTGRES_USER="me",
            POSTGRES_DB="mine",
            DEV_DB_PORT="5439",
        )
        database = setting(env, "DATABASES")["default"]
        found = [database[key] for key in ("HOST", "PORT", "USER", "PASSWORD", "NAME")]
        self.assertEqual(found, ["127.0.0.1", 5439, "me", "pw", "mine"])
        self.assertIs(setting(env, "DEBUG"), True)

    def test_its_sessions_are_not_those_of_a_production_site_on_the_same_host(self) -> None:
        env = environment("config.settings.dev", DATABASE_URL=NOBODY_LISTENS)
        self.assertNotEqual(
            setting(env, "SESSION_COOKIE_NAME"), setting(production(), "SESSION_COOKIE_NAME")
        )

    @skipUnless(find_spec("debug_toolbar"), "django-debug-toolbar is not installed")
    def test_its_pages_have_the_toolbar_within_their_content_security_policy(self) -> None:
        """Nothing inline, and nothing of another site; in production there is none."""
        code = (
            "import django; django.setup(); from django.test import Client; "
            "page = Client().get('/', headers={'host': 'localhost'}); "
            "print(page.headers['Content-Security-Policy']); print(page.text)"
        )
        env = environment("config.settings.dev", DATABASE_URL=NOBODY_LISTENS)
        result = python(env, "-c", code)
        policy, _, page = result.stdout.partition("\n")
        self.assertIn("default-src 'self'", policy, result.stderr)
        _, _, toolbar = page.partition('id="djDebugRoot"')
        self.assertIn("toolbar.js", toolbar)
        scripts = re.findall(r"<script[^>]*>", toolbar)
        self.assertEqual([tag for tag in scripts if 'src="/static/' not in tag], [])
        self.assertNotRegex(toolbar, r"<style|\sstyle=|\son[a-z]+=")
        for name in ("INSTALLED_APPS", "MIDDLEWARE"):
            self.assertNotIn("debug_toolbar", str(setting(production(), name)))
