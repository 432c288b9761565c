"""The kernel of the guest: Debian's own, unpacked into a folder and not installed, and what starts it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

PACKAGES = {
    'qemu-system-x86_64': 'qemu-system-x86',
    'modprobe': 'kmod',
    'busybox': 'busybox-static',
    'udevadm': 'udev',
}
"""Command -> the Debian package that has it."""
META_PACKAGE = 'linux-image-amd64'
# What reaches the host's files and its console; Debian builds none of it in.
EARLY_MODULES = ('virtio_pci', '9pnet_virtio', '9p', 'overlay', 'virtio_console')
_SYSTEM_PATH = '/usr/sbin:/sbin:/usr/bin:/bin'


class Unavailable(Exception):
    """There can be no guest here; the text says why."""


@dataclass(frozen=True)
class Kernel:
    """A kernel's files."""

    image: Path
    modules: Path
    """Folder whose name is the version."""
    initramfs: Path


def command(name: str) -> str:
    """Return the path of a command; raises Unavailable."""
    path = shutil.which(name, path=f'{os.environ.get("PATH", "")}:{_SYSTEM_PATH}')
    if path is None:
        raise Unavailable(f'no {name}: apt install {PACKAGES[name]}' if name in PACKAGES else f'no {name}: no Debian?')
    return path


def prepare(folder: Path) -> Kernel:
    """Install what is missing where this user may, fetch the kernel once, and return it; raises Unavailable."""
    missing = [package for name, package in PACKAGES.items() if shutil.which(name, path=_SYSTEM_PATH) is None]
    if missing and os.getuid():
        raise Unavailable(f'apt install {" ".join(missing)}')
    unpacked = folder / 'kernel'
    if missing or not (unpacked / 'unpacked').exists():
        apt = command('apt-get')
        if not os.getuid():
            _run(apt, 'update', '-qq')
        if missing:
            _run(apt, 'install', '-y', '-qq', '--no-install-recommends', *missing)
        _unpack(folder, unpacked, apt)
    image = next((unpacked / 'boot').glob('vmlinuz-*'))
    modules = next((unpacked / 'lib/modules').iterdir())
    kernel = Kernel(image, modules, folder / 'initramfs')
    _make_initramfs(kernel)
    return kernel


def _unpack(folder: Path, unpacked: Path, apt: str) -> None:
    depends = _run(command('apt-cache'), 'depends', META_PACKAGE)
    found = re.search(r'Depends: (linux-image-\S+)', depends)
    if found is None:
        raise Unavailable(f'{META_PACKAGE} names no kernel: {depends.strip()}')
    shutil.rmtree(unpacked, ignore_errors=True)
    unpacked.mkdir(parents=True)
    for old in folder.glob('linux-image-*.deb'):
        old.unlink()
    _run(apt, 'download', '-qq', found[1], cwd=folder)
    package = next(folder.glob('linux-image-*.deb'))
    _run(command('dpkg-deb'), '-x', str(package), str(unpacked))
    package.unlink()
    _run(command('depmod'), '-b', str(unpacked), next((unpacked / 'lib/modules').iterdir()).name)
    (unpacked / 'unpacked').touch()


_INIT = """#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install /bin
mount -t devtmpfs none /dev
mount -t proc none /proc
for module in /modules/*; do insmod $module || echo "no $module"; done
mount -t 9p -o ro,trans=virtio,version=9p2000.L,cache=loose,msize=512000 host /host || exec sh
mount -t tmpfs none /scratch
mkdir /scratch/upper /scratch/work
mount -t overlay -o lowerdir=/host,upperdir=/scratch/upper,workdir=/scratch/work none /root
for argument in $(cat /proc/cmdline); do
  case $argument in guest.*=*) export "GUEST_${argument#guest.}" ;; esac
done
mkdir -p /root/lib/modules
ln -sfn "$GUEST_modules" "/root/lib/modules/${GUEST_modules##*/}"
mount --move /dev /root/dev
mount --move /proc /root/proc
exec switch_root /root /bin/sh "$GUEST_init"
"""


def _make_initramfs(kernel: Kernel) -> None:
    """Pack the modules that reach the host's files, and a script that makes those the guest's root."""
    with TemporaryDirectory(dir=kernel.initramfs.parent) as folder:
        root, packed = Path(folder, 'root'), Path(folder, 'packed')
        _fill(root, kernel)
        names = '\n'.join(str(path.relative_to(root)) for path in sorted(root.rglob('*')))
        with packed.open('wb') as archive:
            subprocess.run(
                (command('busybox'), 'cpio', '-o', '-H', 'newc'),
                input=names.encode(), stdout=archive, stderr=subprocess.PIPE, cwd=root, check=True,
            )  # fmt: skip
        packed.replace(kernel.initramfs)  # another guest may start just now


def _fill(root: Path, kernel: Kernel) -> None:
    for folder in ('bin', 'dev', 'proc', 'host', 'scratch', 'root', 'modules'):
        (root / folder).mkdir(parents=True)
    shutil.copy(command('busybox'), root / 'bin/busybox')
    base = kernel.modules.parent.parent.parent
    paths: dict[str, None] = {}
    for name in EARLY_MODULES:
        text = _run(command('modprobe'), '-d', str(base), '-S', kernel.modules.name, '--show-depends', name)
        paths |= dict.fromkeys(re.findall(r'^insmod (\S+)', text, re.MULTILINE))
    for number, path in enumerate(paths):
        shutil.copy(path, root / f'modules/{number:02}-{Path(path).name}')
    (root / 'init').write_text(_INIT)
    (root / 'init').chmod(0o755)


def _run(*words: str, cwd: Path | None = None) -> str:
    environment = {**os.environ, 'DEBIAN_FRONTEND': 'noninteractive', 'LC_ALL': 'C'}
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise Unavailable(f'{" ".join(words[:3])} failed: {" ".join(last)}')
    return done.stdout
