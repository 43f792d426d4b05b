"""Print what an image contains, as CycloneDX 1.6: Debian's packages and Python's.

    docker run --rm -i --network none --entrypoint python IMAGE -I - <image/sbom.py >sbom.json

Nothing but the standard library, so that nothing has to be in the image for it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from importlib.metadata import distributions
from pathlib import Path
from typing import Any
from urllib.parse import quote

DPKG = Path("/var/lib/dpkg/status")
OS_RELEASE = Path("/etc/os-release")


def main() -> None:
    """Write the document to standard output."""
    found = sorted({one["purl"]: one for one in (*of_python(), *of_debian())}.items())
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"timestamp": f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ}"},
        "components": [one for _, one in found],
    }
    json.dump(document, sys.stdout, indent=1)
    print()


def component(name: str, version: str, purl: str) -> dict[str, Any]:
    """A package: https://github.com/package-url/purl-spec."""
    return {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
    }


def of_python() -> Iterator[dict[str, Any]]:
    """Every distribution that this Python finds, and itself."""
    version = sys.version.split()[0]
    yield component("python", version, f"pkg:generic/python@{version}")
    for one in distributions():
        name = re.sub(r"[-_.]+", "-", one.metadata["Name"]).lower()
        yield component(name, one.version, f"pkg:pypi/{name}@{quote(one.version)}")


def of_debian() -> Iterator[dict[str, Any]]:
    """Every package that is installed; none where there is no dpkg."""
    system = dict(re.findall(r'^(\w+)="?([^"\n]*)', _text(OS_RELEASE), re.MULTILINE))
    distro = f"{system.get('ID', 'debian')}-{system.get('VERSION_ID', '')}".rstrip("-")
    for paragraph in _text(DPKG).split("\n\n"):
        field = dict(re.findall(r"^(\w[\w-]*): (.*)$", paragraph, re.MULTILINE))
        if field.get("Status") == "install ok installed":
            name, version = field["Package"], field["Version"]
            where = f"arch={field['Architecture']}&distro={distro}"
            purl = f"pkg:deb/{system.get('ID', 'debian')}/{quote(name)}@{quote(version)}?{where}"
            yield component(name, version, purl)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


if __name__ == "__main__":
    main()
