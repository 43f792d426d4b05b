"""What every command is given."""

from __future__ import annotations

from dataclasses import dataclass

from postdo.config import Config
from postdo.console import Console
from postdo.stop import StopSignals


@dataclass(frozen=True)
class Run:
    """One run of the command line: its configuration, where it speaks, and what may stop it."""

    config: Config
    console: Console
    stop: StopSignals
