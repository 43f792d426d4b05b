"""What a migration does with files is done aside, and looks to it as if it were done."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import forkserver
import pytest

# Runs statements in a folder and shows what they see of it afterwards; aside, if told.
DRIVER = """
import json, os, sys
body, aside = sys.stdin.read(), sys.argv[1]
changes = None
if aside:
    from postdo.rehearsal import sandbox
    sandbox.OUTSIDE.begin(aside)
    assert sandbox.close_files(aside) == ""
    changes = sandbox.OUTSIDE
said = {"error": ""}
try:
    exec(body, {"said": said})
except OSError as error:
    said["error"] = f"{type(error).__name__} {error.errno}"
tree = {}
for folder, folders, files in os.walk("."):
    for name in folders:
        tree[os.path.join(folder, name)] = "folder"
    for name in files:
        path = os.path.join(folder, name)
        tree[path] = open(path).read() if os.path.exists(path) else "broken"
print(json.dumps([said, tree, [str(one) for one in changes.files] if changes else []]))
"""
FILES = {"up/a.txt": "a", "up/b.txt": "b", "up/deep/c.txt": "c", "other/d.txt": "d"}

BODIES = {
    "rename": "import os; os.rename('up/a.txt', 'up/z.txt')",
    "rename over": "import os; os.replace('up/a.txt', 'up/b.txt')",
    "rename to another folder": "import os; os.rename('up/a.txt', 'other/a.txt')",
    "rename a folder": "import os; os.rename('up', 'down'); os.remove('down/deep/c.txt')",
    "there and back": "import os; os.rename('up', 'down'); os.rename('down', 'up')",
    "a folder over a full one": "import os; os.rename('up', 'other')",
    "into itself": "import os; os.rename('up', 'up/deep/up')",
    "renames": "import os; os.renames('other/d.txt', 'new/deep/d.txt')",
    "remove": "import os; os.remove('up/a.txt')",
    "remove twice": "import os; os.remove('up/a.txt'); os.remove('up/a.txt')",
    "remove a folder": "import os; os.remove('up')",
    "rmdir of a full one": "import os; os.rmdir('up')",
    "rmdir": "import os; os.remove('other/d.txt'); os.rmdir('other')",
    "makedirs": "import os; os.makedirs('new/deep'); open('new/deep/x', 'w').write('x')",
    "makedirs where one is": "import os; os.makedirs('up/deep')",
    "mkdir without a parent": "import os; os.mkdir('no/such')",
    "write": "open('up/a.txt', 'w').write('new')",
    "append": "open('up/a.txt', 'a').write('more')",
    "read and write": "f = open('up/a.txt', 'r+'); f.write('X'); f.close()",
    "exclusive": "open('up/a.txt', 'x')",
    "write without a folder": "open('no/such', 'w')",
    "write where a folder is": "open('up', 'w')",
    "read what is gone": "import os; os.remove('up/a.txt'); open('up/a.txt')",
    "write again": "import os; os.remove('up/a.txt'); open('up/a.txt', 'w').write('again')",
    "name": "f = open('up/a.txt', 'a'); said['name'] = f.name; f.close()",
    "descriptor": "import os; f = os.open('up/n', os.O_CREAT | os.O_WRONLY); os.write(f, b'n')",
    "relative to a folder": (
        "import os\nup = os.open('up', os.O_RDONLY)\n"
        "os.unlink('a.txt', dir_fd=up); os.mkdir('made', dir_fd=up)\n"
        "said['up'] = sorted(os.listdir(up)); os.close(up)"
    ),
    "through a link": "open('shortcut/a.txt', 'w').write('by the link')",
    "a link itself": "import os; os.remove('shortcut'); said['up'] = os.path.exists('up/a.txt')",
    "pathlib": (
        "from pathlib import Path\nPath('up/a.txt').rename('up/y.txt')\nPath('up/b.txt').unlink()\n"
        "Path('up/new.txt').write_text('new')\nPath('p/q').mkdir(parents=True)\n"
        "Path('up/t').touch()\nsaid['glob'] = sorted(map(str, Path('up').rglob('*.txt')))\n"
        "said['is'] = [Path('up/a.txt').exists(), Path('up/y.txt').is_file(), Path('p').is_dir()]"
    ),
    "shutil.move": "import shutil; shutil.move('up/a.txt', 'other'); shutil.move('up', 'other')",
    "shutil.copy": "import shutil; shutil.copy2('up/a.txt', 'other/e.txt')",
    "shutil.copytree": "import shutil; shutil.copytree('up', 'copy')",
    "shutil.rmtree": "import shutil; shutil.rmtree('up')",
    "shutil.rmtree after a rename": (
        "import os, shutil\nos.rename('up', 'down')\nopen('down/n', 'w').write('n')\n"
        "shutil.rmtree('down')"
    ),
    "by way of a temporary file": (
        "import os, tempfile\n"
        "with tempfile.NamedTemporaryFile('w', dir='up', delete=False) as f:\n    f.write('new')\n"
        "os.replace(f.name, 'up/a.txt')"
    ),
    "zip": (
        "import zipfile\nwith zipfile.ZipFile('all.zip', 'w') as z:\n    z.write('up/a.txt')\n"
        "said['zip'] = zipfile.ZipFile('all.zip').namelist()\nimport os; os.remove('all.zip')"
    ),
    "listing": (
        "import os\nos.remove('up/a.txt'); open('up/n', 'w').close()\n"
        "said['names'] = sorted(os.listdir('up'))\n"
        "said['kinds'] = sorted((e.name, e.is_dir(), e.path) for e in os.scandir('up'))\n"
        "import glob; said['glob'] = sorted(glob.glob('up/**', recursive=True))"
    ),
    "elsewhere": "import os; os.chdir('up'); os.remove('a.txt'); open('n', 'w'); os.chdir('..')",
    "a new folder as the current one": (
        "import os\nos.mkdir('new'); os.chdir('new'); open('n', 'w').write('n')\n"
        "said['seen'] = os.listdir('.'); os.chdir('..')"
    ),
    "mode": "import os; os.chmod('up/a.txt', 0o600); open('up/a.txt', 'a').write('!')",
    "time": "import os; os.utime('up/a.txt', (1, 1)); os.utime('up/none')",
}


def tree(root: Path) -> dict[str, Any]:
    """Everything below a folder, with modes and times."""
    return {
        str(path.relative_to(root)): (
            path.lstat().st_mode,
            path.lstat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in sorted(root.rglob("*"))
    }


def made(root: Path) -> Path:
    for name, text in FILES.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (root / "shortcut").symlink_to("up")
    return root


def run(root: Path, body: str, aside: str = "") -> Any:
    with forkserver.Popen(
        [sys.executable, "-c", DRIVER, aside],
        cwd=root,
        env={"PATH": os.environ["PATH"], **forkserver.START},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        out, err = process.communicate(body)
    assert process.returncode == 0, err
    return json.loads(out)


@pytest.mark.parametrize("what", BODIES)
def test_what_is_done_aside_looks_as_if_it_were_done(tmp_path: Path, what: str) -> None:
    """The same statements in a folder of their own, for real, show what they ought to see."""
    site, really, aside = made(tmp_path / "site"), made(tmp_path / "really"), tmp_path / "aside"
    aside.mkdir()
    before = tree(site)
    said, seen, changes = run(site, BODIES[what], str(aside))
    assert tree(site) == before
    expected = run(really, BODIES[what])
    assert [said, seen] == expected[:2]
    assert bool(changes) == (tree(really) != before) or said["error"] or what == "there and back"


def test_what_is_done_is_told_by_folder(tmp_path: Path) -> None:
    site, aside = made(tmp_path / "site"), tmp_path / "aside"
    aside.mkdir()
    body = (
        "import os\n"
        "for n in range(5):\n    open(f'up/{n}', 'w').close()\n"
        "os.remove('up/a.txt'); os.rename('up/b.txt', 'other/b.txt'); os.chmod('other', 0o700)"
    )
    _, _, changes = run(site, body, str(aside))
    assert changes == [
        "files in up: 5 written (0, 1, 2 and 2 more)",
        "files in up: 1 removed (a.txt)",
        "files in up: 1 renamed (b.txt to other/b.txt)",
        "files in .: 1 marked (other)",
    ]
