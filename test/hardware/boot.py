"""Runs tests in a guest machine with a real kernel and its drivers: ``make test-hardware``.

    python test/hardware/boot.py [--limit SECONDS] [--out FOLDER] [pytest's arguments]

The guest is QEMU with Debian's kernel. Its root is the host's file system, read-only, under a layer in memory that
takes what is written, so that it runs this very interpreter with this PYTHONPATH, and forgets everything when it ends;
what a test leaves in the folder ``out/hardware`` stays.

A guest test is a test in a file ``test/<room>/test_<what>_guest.py`` that has the mark ``hardware``; it may use the
fixtures of ``guest.py``, which is in this folder. One boot runs all of them.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import kernel as kernels

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
OUT = PROJECT / 'out/hardware'
FOLDER = PROJECT / '.venv/guest'
LIMIT_S = 3600.0
"""For a guest that hangs: what takes minutes on a calm machine may take ten times as long on a busy one."""
PATIENCE_S = 600
"""How long a test waits for what ought to happen; decides only how long a failure takes."""
MOST_FAILURES = 3
MEMORY = '2G'
_CONSOLE_LINES = 40
# On a busy host the emulated timer stands still now and then, which the kernel's check of it takes for broken.
_KERNEL_OPTIONS = (
    'console=ttyS0 loglevel=5 panic=-1 mitigations=off nokaslr cryptomgr.notests audit=0 apparmor=0 '
    'random.trust_cpu=on noresume no_timer_check nowatchdog'
)


def accelerated(qemu: str) -> bool:
    """Tell whether hardware virtualisation works here, which shows only when it is tried."""
    if not os.access('/dev/kvm', os.R_OK | os.W_OK):
        return False
    quit_at_once = b'{"execute":"qmp_capabilities"}{"execute":"quit"}'
    words = (qemu, '-accel', 'kvm', '-cpu', 'host', '-nodefaults', '-display', 'none', '-S', '-qmp', 'stdio')
    try:
        return subprocess.run(words, input=quit_at_once, capture_output=True, timeout=20.0).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def machine(qemu: str, kernel: kernels.Kernel, out: Path) -> list[str]:
    """Return the command that starts the guest."""
    fast = accelerated(qemu)
    socket = out / 'qmp'
    words = [qemu, '-nodefaults', '-no-reboot', '-display', 'none', '-vga', 'none', '-machine', 'q35']
    words += ['-m', MEMORY]
    # Emulated processors wait for one another: beside other work, two took three times as long as one.
    words += ['-accel', 'kvm', '-cpu', 'host', '-smp', '2'] if fast else ['-accel', 'tcg', '-cpu', 'max', '-smp', '1']
    words += ['-kernel', str(kernel.image), '-initrd', str(kernel.initramfs)]
    words += ['-append', f'{_KERNEL_OPTIONS} guest.modules={kernel.modules} guest.out={out} guest.init={HERE}/init.sh']
    words += ['-serial', f'file:{out}/console.log', '-device', 'virtio-serial-pci']
    words += ['-chardev', 'stdio,id=output,signal=off', '-device', 'virtconsole,chardev=output']
    # QEMU's control socket, and its other end in the guest: a test speaks to its own machine.
    words += ['-chardev', f'socket,id=control,path={socket},server=on,wait=off', '-mon', 'control,mode=control']
    words += ['-chardev', f'socket,id=guest,path={socket}', '-device', 'virtserialport,chardev=guest,name=qemu']
    words += ['-fsdev', 'local,id=host,path=/,security_model=none,readonly=on,multidevs=remap']
    words += ['-device', 'virtio-9p-pci,fsdev=host,mount_tag=host']
    words += ['-fsdev', f'local,id=out,path={out},security_model=none']
    words += ['-device', 'virtio-9p-pci,fsdev=out,mount_tag=out']
    return [*words, '-device', 'bochs-display,id=screen']


def write_command(out: Path, arguments: list[str]) -> None:
    """Write what the guest is to do."""
    path = os.pathsep.join(filter(None, (str(HERE), os.environ.get('PYTHONPATH', ''))))
    pytest = [
        *(sys.executable, '-m', 'pytest', '-p', 'guest', '-p', 'pytest_timeout', '-p', 'no:cacheprovider'),
        *('-m', 'hardware', '--color=no', '-v', f'--maxfail={MOST_FAILURES}'),
        *('--rootdir', str(PROJECT), '-c', str(PROJECT / 'pyproject.toml'), '-o', 'python_files=test_*_guest.py'),
        *('--junit-xml', str(out / 'junit.xml'), '-o', f'timeout={3 * PATIENCE_S}', *arguments),
    ]
    settings = (
        f'PYTHONPATH={shlex.quote(path)} GUEST_OUT={out} PATIENCE_S={PATIENCE_S} PYTEST_DISABLE_PLUGIN_AUTOLOAD=1'
    )
    (out / 'command').write_text(f'export {settings}\nexec {shlex.join(pytest)}\n')


def last_lines(path: Path) -> str:
    """Return the end of the guest's console."""
    try:
        lines = path.read_text(errors='replace').splitlines()
    except OSError:
        return '(nothing)'
    return '\n'.join(lines[-_CONSOLE_LINES:])


def main() -> int:
    """Boot, test, and say how it went: 0 where all tests passed or there can be no guest."""
    parser = argparse.ArgumentParser(description='Run the tests that need real kernel drivers.')
    parser.add_argument('--limit', type=float, default=LIMIT_S, metavar='SECONDS', help='for boot and tests together')
    parser.add_argument('--out', type=Path, default=OUT, metavar='FOLDER', help='for what the guest leaves')
    options, arguments = parser.parse_known_args()
    out = options.out.resolve()
    try:
        kernel = kernels.prepare(FOLDER)
        qemu = kernels.command('qemu-system-x86_64')
    except kernels.Unavailable as reason:
        print(f'The hardware tests were left out: {reason}', file=sys.stderr)
        return 0
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    paths = [str(Path(word).resolve()) if word.startswith('test') else word for word in arguments]
    if not any(word.startswith(str(PROJECT)) for word in paths):
        paths += sorted(map(str, (PROJECT / 'test').glob('*/test_*_guest.py')))
    write_command(out, paths)
    began_s = time.monotonic()
    try:
        process = subprocess.run(machine(qemu, kernel, out), stdin=subprocess.DEVNULL, timeout=options.limit)
        ended = f'ended with {process.returncode}'
    except subprocess.TimeoutExpired:
        ended = f'was stopped after {options.limit:g} s'
    (out / 'qmp').unlink(missing_ok=True)
    try:
        status = int((out / 'status').read_text())
    except (OSError, ValueError):
        print(f'The guest {ended} and left no result. Its console:\n{last_lines(out / "console.log")}', file=sys.stderr)
        return 1
    print(f'The guest ran for {time.monotonic() - began_s:.0f} s; what it left is in {out}', file=sys.stderr)
    return status


if __name__ == '__main__':
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the guest ends too
    sys.exit(main())
