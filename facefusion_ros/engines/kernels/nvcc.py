"""The kernels' sources compiled for a GPU by CUDA's own compiler, and kept."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from facefusion_ros.engines.engine import EngineError

SOURCES = Path(__file__).parent
MAIN = SOURCES / 'kernels.cu'
ROUNDING = '-fmad=false'
"""No multiply-add in one rounding: the reference rounds twice."""
_USUAL = '/usr/local/cuda/bin'
"""Where the toolkit and JetPack put it, mostly beside the path."""


def find_nvcc() -> Path | None:
    """Look for nvcc in $CUDA_HOME, on the path and where the toolkit puts it."""
    home = os.environ.get('CUDA_HOME')
    folders = [*([f'{home}/bin'] if home else []), *os.get_exec_path(), _USUAL]
    found = shutil.which('nvcc', path=os.pathsep.join(folders))
    return Path(found) if found else None


def compile_kernels(compute_capability: tuple[int, int], folder: Path) -> Path:
    """Give the cubin of all kernels for a GPU such as (8, 7), out of the folder, made there first where it is missing.

    Raises EngineError where there is no compiler, or where it refuses.
    """
    digest = hashlib.sha256()
    for source in sorted(path for path in SOURCES.iterdir() if path.suffix in {'.cu', '.h'}):
        digest.update(source.read_bytes())
    architecture = f'sm_{compute_capability[0]}{compute_capability[1]}'
    target = folder / f'kernels-{digest.hexdigest()[:16]}-{architecture}.cubin'
    if target.exists():
        return target
    nvcc = find_nvcc()
    if nvcc is None:
        raise EngineError(
            'the CUDA compiler nvcc is not on this machine: install the CUDA toolkit (on a Jetson: sudo apt install '
            'nvidia-cuda-dev cuda-nvcc-*), or set CUDA_HOME to where it is'
        )
    folder.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(f'.{os.getpid()}.partial')
    command = [str(nvcc), '-cubin', f'-arch={architecture}', ROUNDING, '-o', str(partial), str(MAIN)]
    done = subprocess.run(command, check=False, text=True, capture_output=True)
    if done.returncode:
        partial.unlink(missing_ok=True)
        words = ' '.join((done.stderr or done.stdout).split())
        raise EngineError(f'{nvcc} does not compile the kernels for {architecture}: {words[:300]}')
    partial.replace(target)
    return target
