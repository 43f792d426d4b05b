"""What every command is given."""

from __future__ import annotations

from dataclasses import dataclass, replace

from postdo.base.config import Config
from postdo.base.console import Console
from postdo.base.signals import StopSignals


@dataclass(frozen=True)
class Run:
    """One run of the command line: its configuration, its output, and what may stop it."""

    config: Config
    console: Console
    stop: StopSignals

    def without_backups(self) -> Run:
        """The same run, but copies of the database that it makes are not kept as backups."""
        return replace(self, config=replace(self.config, backups=None))
