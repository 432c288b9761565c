"""Both ways to build the package, from a copy of the sources: a wheel as pip makes it, and a colcon workspace."""

import os
import shutil
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

from facefusion_ros import __version__, msg
from facefusion_ros.app.launch.environment import children_environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(500)]

SOURCES = Path(__file__).parents[1]
MESSAGES = sorted(file.stem for file in (SOURCES / 'msg').glob('*.msg'))
HOT_PATH = ('camera', 'detector', 'swapper', 'blender', 'renderer')
NODES = (*HOT_PATH, 'ambient_light', 'gyro', 'camera_control', 'pipeline', 'witness', 'watchdog')
BUILD_S, RUN_S = 450, 60

ROUND_TRIP = """
    import pathlib, sys
    from rclpy.serialization import deserialize_message, serialize_message
    import facefusion_ros
    from facefusion_ros import msg

    prefix = pathlib.Path(sys.argv[1])
    for name in sys.argv[2:]:
        message = getattr(msg, name)()
        assert deserialize_message(serialize_message(message), type(message)) == message
    faces = msg.FaceArray(faces=[msg.Face(id=7, landmarks=range(10)), msg.Face(score=0.5)])
    faces.frame.timing.stages = ['camera', 'detector']
    assert deserialize_message(serialize_message(faces), msg.FaceArray) == faces

    # It is the build's own code and libraries that did it, and none that are installed elsewhere.
    mapped = {line.split()[-1] for line in open('/proc/self/maps') if 'facefusion_ros' in line}
    assert len(mapped) >= 4, mapped
    for file in [facefusion_ros.__file__, msg.__file__, *mapped]:
        assert pathlib.Path(file).is_relative_to(prefix), file
"""


def run(command, cwd, env, seconds):
    done = subprocess.run(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def environment():
    """The environment of a person who has made a virtual environment, or sourced ROS 2, and nothing else."""
    env = children_environment(os.environ)
    env.pop('PYTHONPATH', None)
    # Nobody wants to know how much of the build tools was covered, and to find out takes long.
    return {name: value for name, value in env.items() if not name.startswith('COVERAGE_')}


def copy_of_the_sources(folder):
    """Copy what is in version control, as it lies in the working tree, and new files that are not ignored."""
    command = ['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard']
    for name in subprocess.run(command, cwd=SOURCES, capture_output=True, check=True).stdout.decode().split('\0'):
        if name and (SOURCES / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(SOURCES / name, folder / name)
    assert (folder / 'package.xml').is_file()
    return folder


def modules(folder):
    """The Python files of the package in a folder, but for the generated ones, and the networks that ship."""
    files = [*folder.rglob('*.py'), *(folder / 'models' / 'weights').iterdir()]
    return {str(file.relative_to(folder)) for file in files if file.relative_to(folder).parts[0] != 'msg'}


def check_prefix(prefix, sources):
    """What every ROS 2 tool expects of an installed package, and every file of ours."""
    share = prefix / 'share' / 'facefusion_ros'
    assert (prefix / 'share/ament_index/resource_index/packages/facefusion_ros').is_file()
    assert (prefix / 'share/ament_index/resource_index/rosidl_interfaces/facefusion_ros').is_file()
    assert (share / 'package.xml').read_bytes() == (sources / 'package.xml').read_bytes()
    for folder in ('launch', 'config', 'msg'):
        for file in (sources / folder).rglob('*.*'):
            assert (share / file.relative_to(sources)).read_bytes() == file.read_bytes()
    for name in MESSAGES:
        assert (share / 'msg' / f'{name}.idl').is_file()
    for node in NODES:
        assert os.access(prefix / 'lib' / 'facefusion_ros' / node, os.X_OK), node
    assert {file.name for file in (prefix / 'lib' / 'facefusion_ros').iterdir()} == set(NODES)
    assert (prefix / 'lib' / 'libfacefusion_ros__rosidl_generator_py.so').is_file()


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    """The sources, the wheel made of them, and the folder it was unpacked to."""
    folder = tmp_path_factory.mktemp('pip')
    sources = copy_of_the_sources(folder / 'sources')
    command = [
        sys.executable,
        '-m',
        'pip',
        'wheel',
        '--no-index',
        '--no-build-isolation',
        '--no-deps',
        '-w',
        folder,
        '.',
    ]
    run(command, sources, environment(), BUILD_S)
    [file] = folder.glob('*.whl')
    site = folder / 'site'
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            path = Path(archive.extract(entry, site))
            path.chmod(entry.external_attr >> 16 & 0o777)
    return sources, file, site


def test_the_wheel_is_complete(wheel):
    sources, file, site = wheel
    assert file.name.startswith(f'facefusion_ros-{__version__}-cp{sys.version_info.major}{sys.version_info.minor}-')
    assert file.name.endswith('linux_x86_64.whl')  # it holds libraries, so it is not for any machine
    check_prefix(site / f'facefusion_ros-{__version__}.data' / 'data', sources)
    package = site / 'facefusion_ros'
    assert modules(package) == modules(sources / 'facefusion_ros')
    assert (package / 'py.typed').is_file()
    assert list(package.glob('facefusion_ros_s__rosidl_typesupport_fastrtps_c*.so'))
    metadata = site / f'facefusion_ros-{__version__}.dist-info'
    assert 'facefusion-ros = facefusion_ros.app.main:main' in (metadata / 'entry_points.txt').read_text()
    assert {folder.name for folder in site.iterdir()} == {'facefusion_ros', metadata.name, f'{metadata.stem}.data'}


def test_messages_of_the_wheel_work(wheel):
    _, _, site = wheel
    env = environment()
    libraries = site / f'facefusion_ros-{__version__}.data' / 'data' / 'lib'
    env['PYTHONPATH'] = str(site)
    env['LD_LIBRARY_PATH'] = os.pathsep.join([str(libraries), env.get('LD_LIBRARY_PATH', '')])
    run([sys.executable, '-c', textwrap.dedent(ROUND_TRIP), site, *MESSAGES], site, env, RUN_S)


@pytest.fixture(scope='module')
def workspace(tmp_path_factory):
    """A colcon workspace that has been built; gives its folder and the environment after sourcing it."""
    folder = tmp_path_factory.mktemp('colcon')
    copy_of_the_sources(folder / 'src' / 'facefusion_ros')
    env = environment()
    prefixes = env['AMENT_PREFIX_PATH']
    env['CMAKE_PREFIX_PATH'] = os.pathsep.join(filter(None, [prefixes, env.get('CMAKE_PREFIX_PATH')]))
    run(['colcon', 'build', '--cmake-args', '-DBUILD_TESTING=OFF'], folder, env, BUILD_S)
    listed = run(['bash', '-c', 'source install/local_setup.bash && env -0'], folder, env, RUN_S)
    return folder, dict(line.split('=', 1) for line in listed.split('\0') if '=' in line)


def test_the_install_space_is_complete(workspace):
    folder, _ = workspace
    prefix = folder / 'install' / 'facefusion_ros'
    sources = folder / 'src' / 'facefusion_ros'
    check_prefix(prefix, sources)
    [package] = prefix.glob('lib/python*/site-packages/facefusion_ros')
    assert modules(package) == modules(sources / 'facefusion_ros')
    assert os.access(prefix / 'bin' / 'facefusion-ros', os.X_OK)


def test_modules_and_messages_of_the_workspace_work(workspace):
    folder, env = workspace
    prefix = folder / 'install' / 'facefusion_ros'
    run(['python3', '-c', textwrap.dedent(ROUND_TRIP), prefix, *MESSAGES], folder, env, RUN_S)
    run(['python3', '-c', 'import facefusion_ros.msg, facefusion_ros.nodes.camera'], folder, env, RUN_S)


def test_the_command_of_the_workspace_finds_its_own_files(workspace):
    folder, env = workspace
    assert run(['facefusion-ros', '--version'], folder, env, RUN_S) == f'facefusion-ros {__version__}\n'
    which = run(['bash', '-c', 'command -v facefusion-ros'], folder, env, RUN_S).strip()
    assert which == str(folder / 'install' / 'facefusion_ros' / 'bin' / 'facefusion-ros')
    assert 'duration' in run(['facefusion-ros', 'launch', 'demo.launch.xml', '--show-args'], folder, env, RUN_S)
    found = 'from facefusion_ros.app.share import launch_file; print(launch_file("demo.launch.xml"))'
    share = folder / 'install' / 'facefusion_ros' / 'share' / 'facefusion_ros'
    assert run(['python3', '-c', found], folder, env, RUN_S).strip() == str(share / 'launch' / 'demo.launch.xml')


def test_a_node_of_the_workspace_runs(workspace, listener, namespace):
    folder, env = workspace
    frames = listener.hear(msg.FrameRef, 'frame')
    camera = folder / 'install' / 'facefusion_ros' / 'lib' / 'facefusion_ros' / 'camera'
    command = [str(camera), '--ros-args', '-r', f'__ns:={namespace}', '-p', 'source:=sim', '-p', 'world:=still']
    process = subprocess.Popen(
        command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        [frame] = frames.wait(1)
        assert (frame.width, frame.height) == (640, 480)
        process.terminate()
        text, _ = process.communicate(timeout=RUN_S)
    finally:
        process.kill()
    assert process.returncode == 0, text
