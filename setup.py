"""The way in for pip: the messages are built by the same CMakeLists.txt that colcon uses."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
NAME = 'facefusion_ros'


def ament_prefix_path() -> str:
    """Return the ROS 2 prefixes to build against: the sourced ones, else the environment's own (ROS 2 from PyPI)."""
    sourced = os.environ.get('AMENT_PREFIX_PATH')
    if sourced:
        return sourced
    if (Path(sys.prefix) / 'share' / 'rosidl_default_generators').is_dir():
        return sys.prefix
    sys.exit(
        f'{NAME}: no ROS 2 found to build the messages with: source one, or pip install -r requirements/ros.txt '
        'and then pip install --no-build-isolation .'
    )


def build_messages() -> Path:
    """Run cmake and return the folder that holds what it installed, laid out as a prefix."""
    build = HERE / 'build' / f'cmake-{sysconfig.get_config_var("SOABI")}'
    stage = build / 'stage'
    shutil.rmtree(stage, ignore_errors=True)
    prefixes = ament_prefix_path()
    environment = {
        **os.environ,
        'AMENT_PREFIX_PATH': prefixes,
        'CMAKE_PREFIX_PATH': os.pathsep.join(filter(None, [prefixes, os.environ.get('CMAKE_PREFIX_PATH')])),
        'PATH': os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']]),
    }
    configure = ['cmake', '-S', str(HERE), '-B', str(build), '-DBUILD_TESTING=OFF', f'-DCMAKE_INSTALL_PREFIX={stage}']
    configure += [f'-DPython3_EXECUTABLE={sys.executable}', '-DCMAKE_BUILD_TYPE=Release']
    configure += ['-DPYTHON_INSTALL_DIR=lib/python']
    for command in (configure, ['cmake', '--build', str(build), '--parallel'], ['cmake', '--install', str(build)]):
        done = subprocess.run(
            command, check=False, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        if done.returncode:
            sys.exit(f'{done.stdout}\n{NAME}: {" ".join(command[:2])} failed; the lines above say why')
    return stage


class BuildWithMessages(build_py):
    """Build the messages, put their Python side into the package and their libraries beside the interpreter's."""

    def run(self) -> None:
        """Build everything."""
        if self.editable_mode:
            sys.exit(f'{NAME}: an editable install has no place for the message libraries: use pip install . or make')
        super().run()
        stage = build_messages()
        package = Path(self.build_lib) / NAME
        generated = stage / 'lib' / 'python' / NAME
        shutil.rmtree(package / 'msg', ignore_errors=True)
        shutil.copytree(generated / 'msg', package / 'msg')
        for extension in generated.glob('*.so'):
            shutil.copy2(extension, package / extension.name)
        folders = {}
        for file in sorted(p for p in stage.rglob('*') if p.is_file()):
            place = file.relative_to(stage)
            if place.parts[0] in {'lib', 'share'} and place.parts[:2] != ('lib', 'python'):
                folders.setdefault(str(place.parent), []).append(str(file.relative_to(HERE)))
        self.distribution.data_files = sorted(folders.items())


class WithLibraries(Distribution):
    """The wheel holds libraries, so it is for one Python on one platform."""

    def has_ext_modules(self) -> bool:
        """Say so, though setuptools builds none of them."""
        return True


setup(
    distclass=WithLibraries,
    cmdclass={'build_py': BuildWithMessages},
    data_files=[('share/facefusion_ros', ['package.xml'])],
)
