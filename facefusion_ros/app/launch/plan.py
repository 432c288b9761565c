"""What a launch file comes to: processes, each with its command, environment and folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from facefusion_ros.app.launch.document import Place


@dataclass(frozen=True, slots=True)
class Argument:
    """An ``<arg>`` that can be given as ``name:=value``."""

    name: str
    default: str | None
    """As written, substitutions not made; None where the argument must be given."""
    description: str
    choices: tuple[str, ...]
    """Values allowed; empty where every value is."""
    place: Place


@dataclass(frozen=True, slots=True)
class ParameterFile:
    """Stands in a command for the path of a file that is written when the process is started."""

    text: str
    """Content of the file, YAML."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process to start."""

    label: str
    """Name of the executable and its number in the launch, such as camera-1."""
    argv: tuple[str | ParameterFile, ...]
    env: Mapping[str, str]
    cwd: str | None
    """None: where the runner itself was started."""
    respawn: bool
    """Start it again whenever it ends."""
    respawn_delay_s: float
    respawn_limit: int
    """How often at most; negative: without limit."""
    ends_launch: bool
    """When it ends, all others are stopped (on_exit="shutdown")."""
    place: Place


@dataclass(frozen=True, slots=True)
class Plan:
    """The processes of a launch file, in the order they are started."""

    processes: tuple[Process, ...]
