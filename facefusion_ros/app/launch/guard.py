"""Sees to it that nothing a launch has started outlives it, however the launch ends.

Runs as a process of its own, ``python -I -S guard.py FOLDER``, with a pipe from the runner as its standard input. When
that pipe closes, because the runner is done or was killed, every process whose environment says
``FACEFUSION_LAUNCH=FOLDER`` gets SIGKILL and the folder is removed.

A parent-death signal (prctl) would need code between fork and exec, which is unsafe beside threads, and would not
reach grandchildren; the environment does.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

VARIABLE = 'FACEFUSION_LAUNCH'
_LONGEST_S = 2.0
_PAUSE_S = 0.02


def _marked(mark: bytes) -> list[int]:
    found = []
    for folder in Path('/proc').iterdir():
        if folder.name.isdigit():
            with suppress(OSError):  # ended meanwhile, or another user's
                if mark in (folder / 'environ').read_bytes().split(b'\0'):
                    found.append(int(folder.name))
    return found


def main(folder: str) -> None:
    """Wait for the end of the standard input, then end what is left."""
    while os.read(0, 1):
        pass
    mark = f'{VARIABLE}={folder}'.encode()
    until = time.monotonic() + _LONGEST_S
    quiet = 0
    # Between fork and exec a process still shows its parent's environment: only twice nothing is nothing.
    while quiet < 2 and time.monotonic() < until:
        found = _marked(mark)
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        quiet = 0 if found else quiet + 1
        time.sleep(_PAUSE_S)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == '__main__':
    main(sys.argv[1])
