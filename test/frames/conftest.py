import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

SHARED_MEMORY = Path('/dev/shm')


@pytest.fixture
def pool_files():
    """List the files of the pools of one name."""

    def files(name):
        stem = f'facefusion_ros-{os.getuid()}-{name.replace("/", ".")}-'
        return [path for path in SHARED_MEMORY.iterdir() if path.name.startswith(stem)]

    return files


@pytest.fixture
def name(pool_files):
    """A pool name of this test alone; nothing of it may remain."""
    name = f'test/{secrets.token_hex(6)}'
    yield name
    left = pool_files(name)
    for path in left:
        path.unlink()
    assert not left


class Other:
    """Another Python process that runs a script, says lines and hears lines."""

    def __init__(self, script, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, '-c', script, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def line(self):
        line = self.process.stdout.readline().strip()
        assert line, f'the other process ended with {self.process.wait(10)}'
        return line

    def say(self, line):
        self.process.stdin.write(line + '\n')
        self.process.stdin.flush()

    def kill(self):
        self.process.kill()
        self.end()

    def end(self):
        self.process.stdin.close()
        code = self.process.wait(60)
        self.process.stdout.close()
        return code


@pytest.fixture
def other():
    """Start other processes; they are killed at the end."""
    started = []

    def start(script, *arguments):
        started.append(Other(script, *arguments))
        return started[-1]

    yield start
    for process in started:
        if process.process.poll() is None:
            process.kill()
