"""What is installed on a machine that runs the pipeline from boot on, container files, and docs/hardware.md.

systemd itself checks the unit and the rules where its tools are installed; everything else is checked everywhere.
"""

import configparser
import fnmatch
import mmap
import os
import re
import shlex
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml

from facefusion_ros.app import doctor
from facefusion_ros.app.main import parser as command_line
from facefusion_ros.app.watchdog import TABLE as WATCHDOG
from facefusion_ros.cameras.choose import UnknownSource, choose_source
from facefusion_ros.displays.connectors import Wanted
from facefusion_ros.displays.window import parse_size
from facefusion_ros.frames.segment import pool_bytes
from facefusion_ros.nodes.ambient_light import AmbientLight
from facefusion_ros.nodes.blender import Blender
from facefusion_ros.nodes.camera import Camera
from facefusion_ros.nodes.camera_control import CameraControl
from facefusion_ros.nodes.detector import Detector
from facefusion_ros.nodes.gyro import Gyro
from facefusion_ros.nodes.renderer import Renderer
from facefusion_ros.nodes.swapper import Swapper
from facefusion_ros.sensors.light_chips import LIGHT_CHIPS
from facefusion_ros.sensors.motion_chips import MOTION_CHIPS

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / 'deploy'
HARDWARE = (ROOT / 'docs' / 'hardware.md').read_text()
NODES = {node.NAME: node for node in (Camera, CameraControl, Detector, Swapper, Blender, Renderer, AmbientLight, Gyro)}
ARGUMENTS = {
    argument.get('name')
    for file in ('pipeline', 'sensors')
    for argument in ET.parse(ROOT / 'launch' / f'{file}.launch.xml').getroot().findall('arg')
}
SOURCES = '\n'.join(file.read_text() for file in sorted((ROOT / 'facefusion_ros').rglob('*.py')))


def fenced(kind):
    """The blocks of docs/hardware.md of a kind."""
    return re.findall(rf'^```{kind}\n(.*?)^```', HARDWARE, re.MULTILINE | re.DOTALL)


def installed(folder):
    subprocess.run([DEPLOY / 'install'], env={**os.environ, 'DESTDIR': str(folder)}, check=True)
    return {str(path.relative_to(folder)): path for path in folder.rglob('*') if path.is_file()}


def environment_file():
    lines = (DEPLOY / 'environment').read_text().splitlines()
    return dict(line.split('=', 1) for line in lines if line and not line.startswith('#'))


def unit():
    """The unit as sections of keys; of a key that is given more than once, the last."""
    found = configparser.ConfigParser(strict=False, interpolation=None)
    found.optionxform = str
    found.read(DEPLOY / 'facefusion.service')
    return found


# -- what is installed


def test_installs_every_file_in_its_place(tmp_path):
    files = installed(tmp_path)
    assert set(files) == {
        'etc/facefusion/environment',
        'etc/modules-load.d/facefusion.conf',
        'etc/systemd/system/facefusion.service',
        'etc/sysusers.d/facefusion.conf',
        'etc/tmpfiles.d/facefusion.conf',
        'etc/udev/rules.d/70-facefusion.rules',
        'usr/local/lib/facefusion/start',
    }
    assert os.access(files['usr/local/lib/facefusion/start'], os.X_OK)
    assert unit()['Service']['ExecStart'] == '/usr/local/lib/facefusion/start'
    assert unit()['Service']['EnvironmentFile'] == '/etc/facefusion/environment'


def test_keeps_the_settings_of_a_machine_when_it_is_installed_again(tmp_path):
    settings = installed(tmp_path)['etc/facefusion/environment']
    settings.write_text('ROS_DOMAIN_ID=7\n')
    assert installed(tmp_path)['etc/facefusion/environment'].read_text() == 'ROS_DOMAIN_ID=7\n'


# -- the service


def test_the_service_never_gives_up_and_stays_within_its_memory():
    service = unit()
    assert service['Unit']['StartLimitIntervalSec'] == '0'
    assert service['Service']['Restart'] == 'always'
    assert service['Service']['MemoryMax'] == '4G'
    assert service['Service']['User'] == 'facefusion'


def test_the_service_waits_longer_than_its_watchdog_may_be_silent():
    service = unit()['Service']
    silent_s = next(parameter.default for parameter in WATCHDOG if parameter.name == 'silent_s')
    assert float(service['WatchdogSec']) > 2 * silent_s
    assert (service['Type'], service['NotifyAccess']) == ('notify', 'all')


def test_systemd_finds_nothing_wrong_with_the_service(tmp_path):
    analyze = shutil.which('systemd-analyze')
    if analyze is None:
        pytest.skip('systemd is not installed: systemd-analyze verify was left out')
    text = (DEPLOY / 'facefusion.service').read_text()
    there = tmp_path / 'facefusion.service'
    there.write_text(text.replace('/usr/local/lib/facefusion/start', str(DEPLOY / 'start')))
    done = subprocess.run([analyze, 'verify', '--man=no', there], capture_output=True, text=True)
    said = [line for line in (done.stdout + done.stderr).splitlines() if there.name in line]
    assert not said
    there.write_text(text.replace('Restart=always', 'Restart=alwasy'))
    done = subprocess.run([analyze, 'verify', '--man=no', there], capture_output=True, text=True)
    assert 'alwasy' in done.stdout + done.stderr


@pytest.fixture
def shared_memory(tmp_path):
    """What the tests take for /dev/shm: other tests use the real one."""
    folder = tmp_path / 'shm'
    folder.mkdir()
    return folder


@pytest.fixture
def started(tmp_path, shared_memory):
    """Run deploy/start with a launch that only says how it was called: ``started(**environment)``."""
    programs = tmp_path / 'bin'
    programs.mkdir()
    launch = programs / 'facefusion-ros'
    launch.write_text('#!/bin/sh\nprintf "%s\\n" "$GREETING" "$@"\n')
    launch.chmod(0o755)
    setup = tmp_path / 'setup.bash'
    setup.write_text(f'echo $NOT_SET > /dev/null\nexport GREETING=sourced PATH={programs}:$PATH\n')

    def start(**environment):
        settings = {**environment_file(), 'FACEFUSION_SETUP': str(setup), **environment}
        settings['FACEFUSION_SHARED_MEMORY'] = str(shared_memory)
        env = {'PATH': '/usr/bin:/bin', **settings}
        return subprocess.run([DEPLOY / 'start'], env=env, capture_output=True, text=True)

    return start


def test_starts_the_launch_file_within_the_installation(started):
    said = started().stdout.split('\n')
    assert said[:4] == ['sourced', 'launch', 'pipeline.launch.xml', 'watchdog:=true']
    assert said[4:-1] == environment_file()['FACEFUSION_ARGUMENTS'].split()


def test_starts_another_launch_file_without_arguments(started):
    said = started(FACEFUSION_LAUNCH='/opt/mine.launch.xml', FACEFUSION_ARGUMENTS='').stdout
    assert said == 'sourced\nlaunch\n/opt/mine.launch.xml\nwatchdog:=true\n'


def test_sweeps_shared_memory_that_nobody_uses(started, shared_memory):
    left = [
        shared_memory / name for name in ('fastdds_01', 'fastdds_01_el', 'fastrtps_port7000', 'sem.fastdds_port7000')
    ]
    pool = shared_memory / 'facefusion_ros-1000-frames'
    for file in (*left, pool):
        file.write_bytes(bytes(4096))
    with left[0].open('r+b') as file:
        with mmap.mmap(file.fileno(), 4096):
            started()
            assert all(each.exists() for each in left)
        started()
    assert list(shared_memory.iterdir()) == [pool]


def test_says_which_setting_is_wrong(started):
    done = started(FACEFUSION_SETUP='/nowhere/setup.bash')
    assert done.returncode == 1
    assert "cannot read '/nowhere/setup.bash': set FACEFUSION_SETUP in /etc/facefusion/environment" in done.stderr


# -- the rules


def rules():
    """The rules as lists of (key, operator, value)."""
    text = (DEPLOY / '70-facefusion.rules').read_text()
    lines = re.sub(r'\\\n\s*', ' ', text).splitlines()
    for line in lines:
        if line and not line.startswith('#'):
            tokens = re.findall(r'([A-Z]+(?:\{[^}]+\})?)(==|!=|\+=|=)"([^"]*)"', line)
            assert ', '.join(f'{key}{operator}"{value}"' for key, operator, value in tokens) == re.sub(' +', ' ', line)
            yield tokens


def given(device):
    """What the rules assign to a device; a list for what they add."""
    assigned = {}
    for tokens in rules():
        matches = [(key, value) for key, operator, value in tokens if operator == '==']
        if all(fnmatch.fnmatchcase(device.get(key, ''), value) for key, value in matches):
            for key, operator, value in tokens:
                if operator == '=':
                    assigned[key] = value
                elif operator == '+=':
                    assigned.setdefault(key, []).append(value)
    return assigned


USB_CAMERA = {
    'SUBSYSTEM': 'video4linux',
    'KERNEL': 'video2',
    'ENV{ID_BUS}': 'usb',
    'ENV{ID_V4L_CAPABILITIES}': ':capture:',
    'ATTR{index}': '0',
}


@pytest.mark.parametrize(
    ('device', 'expected'),
    [
        (USB_CAMERA, {'GROUP': 'video', 'MODE': '0660', 'SYMLINK': ['v4l/camera']}),
        ({**USB_CAMERA, 'ATTR{index}': '1', 'ENV{ID_V4L_CAPABILITIES}': ':'}, {'GROUP': 'video', 'MODE': '0660'}),
        ({**USB_CAMERA, 'ENV{ID_BUS}': ''}, {'GROUP': 'video', 'MODE': '0660'}),
        ({'SUBSYSTEM': 'drm', 'KERNEL': 'card1'}, {'GROUP': 'video', 'MODE': '0660'}),
        ({'SUBSYSTEM': 'drm', 'KERNEL': 'renderD128'}, {'GROUP': 'render', 'MODE': '0660'}),
        ({'SUBSYSTEM': 'drm', 'KERNEL': 'card1-HDMI-A-1'}, {'GROUP': 'video', 'MODE': '0660'}),
        (
            {'SUBSYSTEM': 'i2c-dev', 'KERNEL': 'i2c-7', 'ATTR{name}': 'c250000.i2c'},
            {'GROUP': 'i2c', 'MODE': '0660', 'SYMLINK': ['i2c-header']},
        ),
        ({'SUBSYSTEM': 'i2c-dev', 'KERNEL': 'i2c-1', 'ATTR{name}': 'x'}, {'GROUP': 'i2c', 'MODE': '0660'}),
        ({'SUBSYSTEM': 'tty', 'KERNEL': 'tty1'}, {}),
    ],
)
def test_gives_devices_their_groups_and_names(device, expected):
    assert given(device) == expected


def test_opens_the_files_of_an_iio_device_to_the_group():
    found = given({'SUBSYSTEM': 'iio', 'KERNEL': 'iio:device0'})
    assert (found['GROUP'], found['MODE']) == ('i2c', '0660')
    assert 'chgrp -R i2c /sys%p' in found['RUN'][0]
    assert given({'SUBSYSTEM': 'iio', 'KERNEL': 'trigger0'}) == {}


def test_udev_finds_nothing_wrong_with_the_rules():
    udevadm = shutil.which('udevadm')
    verify = [udevadm or '', 'verify', '--resolve-names=never', '--no-summary']
    if udevadm is None or 'verify' not in subprocess.run([udevadm, '--help'], capture_output=True, text=True).stdout:
        pytest.skip('udevadm verify came with systemd 254: left out')
    done = subprocess.run([*verify, DEPLOY / '70-facefusion.rules'], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_groups_of_the_rules_are_those_of_the_user_and_of_the_advice():
    members = set(re.findall(r'^m facefusion (\w+)$', (DEPLOY / 'facefusion.sysusers').read_text(), re.MULTILINE))
    assert members == {value for tokens in rules() for key, _, value in tokens if key == 'GROUP'}
    doctors = set(re.findall(r"_devices\(.*, '(\w+)'\)", Path(doctor.__file__).read_text()))
    assert doctors <= members


# -- the containers


@pytest.mark.parametrize('file', ['Containerfile.x86', 'Containerfile.jetson'])
def test_containers_are_built_from_what_is_there(file):
    text = (DEPLOY / file).read_text()
    ignored = (ROOT / '.dockerignore').read_text().splitlines()
    for line in re.findall(r'^COPY (?!--)(.+)$', text, re.MULTILINE):
        *sources, _ = line.split()
        for source in sources:
            assert (ROOT / source).exists()
            assert f'!{source}' in ignored
    for script in re.findall(r'^RUN (.*?[^\\])$', text, re.MULTILINE | re.DOTALL):
        subprocess.run(['bash', '-n'], input=script.replace('\\\n', ' '), text=True, check=True)


@pytest.mark.parametrize('file', ['Containerfile.x86', 'Containerfile.jetson'])
def test_containers_call_commands_and_arguments_that_there_are(file):
    text = (DEPLOY / file).read_text()
    arguments = yaml.safe_load(re.search(r'^CMD (.+)$', text, re.MULTILINE)[1])
    command_line().parse_args(arguments)
    assert {word.split(':=')[0] for word in arguments if ':=' in word} <= ARGUMENTS


# -- docs/hardware.md


def commands():
    """Every call of our program in docs/hardware.md, as the words after its name."""
    blocks = '\n'.join(fenced('bash')).replace('\\\n', ' ')
    inline = re.findall(r'`((?:sudo [^`]*)?facefusion-ros [a-z][^`…]*)`', HARDWARE)
    for line in [*blocks.splitlines(), *inline]:
        if re.match(r'(sudo .*)?facefusion-ros ', line):
            words = shlex.split(line, comments=True)
            yield words[words.index('facefusion-ros') + 1 :]
        elif 'facefusion_ros' in line and ' launch ' in line:
            words = shlex.split(line)
            yield words[words.index('launch') :]


def assignments():
    """Every name:=value that is said anywhere, ROS' own remappings aside."""
    files = ('environment', 'Containerfile.jetson')
    said = '\n'.join([HARDWARE, *((DEPLOY / file).read_text() for file in files)])
    said = re.sub(r'-r \w+:=\S+', '', said)
    return set(re.findall(r'(?<![/\w])([a-z_]+):=([^\s`",)\]]*)', said))


def test_says_commands_that_there_are():
    found = list(commands())
    assert len(found) >= 6
    for words in found:
        command_line().parse_args(words)


def test_says_arguments_that_there_are():
    assert {name for name, _ in assignments()} <= ARGUMENTS


def taken(source):
    try:
        choose_source(source, clock=lambda: 0)
    except UnknownSource:
        return False
    return True


def test_says_cameras_and_chips_that_there_are():
    sources = {value for name, value in assignments() if name == 'source' and value not in {'', 'sim'}}
    assert {'csi://0', '/dev/v4l/camera'} <= sources
    assert all(taken(source) for source in sources)
    assert {value for name, value in assignments() if name.endswith('_access')} <= {'', 'i2c', 'iio'}


def test_says_displays_that_there_are():
    said = {value for name, value in assignments() if name == 'display'}
    said |= set(re.findall(r'`((?:drm|window|web|file|compare)(?::[^`]*)?)`', HARDWARE))
    assert {'drm', 'window', 'web:8080'} <= said
    for display in said:
        kind, _, rest = display.partition(':')
        if kind == 'drm':
            Wanted.parse(rest)
        elif kind == 'window':
            parse_size(rest)
        else:
            assert re.fullmatch(r'web:([\d.]+:)?\d+', display)


def test_says_parameters_that_there_are():
    for block in fenced('yaml'):
        for node, content in yaml.safe_load(block).items():
            table = {parameter.name: parameter for parameter in NODES[node.removeprefix('/**/')].TABLE}
            for name, value in content['ros__parameters'].items():
                assert table[name].taken(value) == value
                assert name not in ARGUMENTS, 'the argument of the launch file would win'
    named = {parameter.name for node in NODES.values() for parameter in node.TABLE} | {each.name for each in WATCHDOG}
    spoken = {'imu_rotation', 'imu_time_offset_s', 'imu_bias', 'imu_calibration', 'readout_s', 'detection_interval'}
    spoken |= {'pool_slots', 'pixel_format', 'width', 'height', 'rate_hz', 'silent_s', 'start_s'}
    assert spoken <= named
    assert all(f'`{name}`' in HARDWARE for name in spoken)


def test_says_the_addresses_that_the_drivers_use():
    chips = {**LIGHT_CHIPS, **MOTION_CHIPS}
    rows = re.findall(r'^\| [^|]+ \| `(\w+)` \| (0x\w+) \| (0x\w+)? ?\|$', HARDWARE, re.MULTILINE)
    assert {name for name, _, _ in rows} == set(chips) - {'mpu6500', 'mpu9250'}
    for name, usual, other in rows:
        module = __import__(chips[name].__module__, fromlist=['ADDRESS'])
        assert int(usual, 16) == getattr(chips[name], 'ADDRESS', getattr(module, 'ADDRESS', None))
        assert not other or int(other, 16) in range(0x08, 0x78)


def test_says_how_much_shared_memory_pictures_take():
    rows = re.findall(r'^\| (\d+) x (\d+) \| ([\d.]+) MB \| ([\d.]+) MB \|$', HARDWARE, re.MULTILINE)
    slots = next(parameter.default for parameter in Camera.TABLE if parameter.name == 'pool_slots')
    assert len(rows) == 4
    for width, height, least, most in rows:
        sizes = pool_bytes(slots, int(width) * int(height) * 3)
        assert (float(least), float(most)) == tuple(round(size / 1e6, 1) for size in sizes)


def test_quotes_what_the_program_says():
    table = HARDWARE.split('| what it says | what to do |')[1].split('\n\n')[0]
    quoted = [said for row in table.splitlines() for said in re.findall(r'^\| (?:restarts.*, )?`([^`]+)`', row)]
    assert len(quoted) >= 12
    program = re.sub(r"'\s*\n\s*f?'", '', SOURCES)
    for said in quoted:
        for part in filter(None, map(str.strip, said.split('…'))):
            if part != 'oom-kill':
                assert part in program or part in re.sub(r'\{[^{}]*\}', '', program), said
