"""The demo: the demo launch file, from start to end."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from facefusion_ros.app import launch
from facefusion_ros.app.share import launch_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

RESULTS = ('demo.mp4', 'demo.mcap', 'contact_sheet.png', 'summary.json')
HEAD_START_S = 1.0
"""The simulated world begins when the nodes are about to run."""


def demo(out: Path, arguments: Mapping[str, str]) -> int:
    """Run the demo, leave its results in the folder ``out`` and return the exit code."""
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    out.mkdir(parents=True, exist_ok=True)
    for name in RESULTS:
        (out / name).unlink(missing_ok=True)
    epoch_ns = time.time_ns() + round(HEAD_START_S * 1e9)
    given = {'out': str(out), 'world_epoch_ns': str(epoch_ns), **arguments}
    stop = threading.Event()

    def watch(event: launch.Started | launch.Ended) -> None:
        if isinstance(event, launch.Ended) and event.returncode:  # without it no frame comes through
            stop.set()

    code = launch.run(launch_file('demo.launch.xml'), given, stop=stop, on_event=watch, handle_signals=True)
    for name in RESULTS:
        size = (out / name).stat().st_size if (out / name).exists() else 0
        if size:
            print(f'  {out / name}  ({size / 1e6:.1f} MB)')
    return code
