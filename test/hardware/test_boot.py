"""What starts the guest, as far as it goes without one."""

import os
import shutil
from pathlib import Path

import pytest


@pytest.fixture
def boot(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    import boot  # noqa: PLC0415 - a command, in no package

    monkeypatch.setattr(boot, 'FOLDER', tmp_path)
    monkeypatch.setattr('sys.argv', ['boot.py', '--out', str(tmp_path / 'out')])
    return boot


def test_where_there_can_be_no_guest_one_line_says_so(boot, monkeypatch, capsys):
    monkeypatch.setattr(shutil, 'which', lambda *_, **__: None)
    monkeypatch.setattr(os, 'getuid', lambda: 1000)
    assert boot.main() == 0
    said = capsys.readouterr()
    assert said.out == ''
    assert said.err == ('The hardware tests were left out: apt install qemu-system-x86 kmod busybox-static udev\n')


@pytest.mark.parametrize(('left', 'code'), [(None, 1), ('0\n', 0), ('1\n', 1)])
def test_a_guest_without_a_result_has_failed(boot, monkeypatch, capsys, tmp_path, left, code):
    """The machine is a script here: one that tells nothing, and ones that tell how the tests went."""
    out = tmp_path / 'out'
    script = f'echo "Kernel panic" >{out}/console.log' + (f'; printf "{left}" >{out}/status' if left else '')
    monkeypatch.setattr(boot.kernels, 'prepare', lambda _: None)
    monkeypatch.setattr(boot.kernels, 'command', lambda name: name)
    monkeypatch.setattr(boot, 'machine', lambda *_: ['sh', '-c', script])
    assert boot.main() == code
    assert ('left no result. Its console:\nKernel panic' in capsys.readouterr().err) == (left is None)


def test_a_guest_that_hangs_is_stopped(boot, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(boot.kernels, 'prepare', lambda _: None)
    monkeypatch.setattr(boot.kernels, 'command', lambda name: name)
    monkeypatch.setattr(boot, 'machine', lambda *_: ['sleep', '60'])
    monkeypatch.setattr('sys.argv', ['boot.py', '--limit', '0.2', '--out', str(tmp_path / 'out')])
    assert boot.main() == 1
    assert 'was stopped after 0.2 s' in capsys.readouterr().err
