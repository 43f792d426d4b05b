"""image/sbom.py, run as docs/security.md says, by a Python that has only been given its text."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from projects import REPOSITORY

PURL = re.compile(r"pkg:(pypi|deb/\w+|generic)/[\w.+%-]+@[\w.+%~-]+(\?arch=\w+&distro=[\w.-]+)?")


def test_it_lists_pythons_packages_and_debians() -> None:
    with (REPOSITORY / "image/sbom.py").open() as script:
        done = subprocess.run(
            [sys.executable, "-I", "-"], stdin=script, capture_output=True, text=True, check=True
        )

    found = json.loads(done.stdout)
    purls = [one["purl"] for one in found["components"]]
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    assert f"pkg:pypi/django@{version('django')}" in purls
    assert len(set(purls)) == len(purls)
    assert [purl for purl in purls if not PURL.fullmatch(purl)] == []
    debian = Path("/var/lib/dpkg/status").is_file()
    assert any(purl.startswith("pkg:deb/") for purl in purls) == debian
