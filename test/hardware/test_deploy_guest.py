"""deploy/70-facefusion.rules on real devices: udev gives them to the groups that the pipeline's user is in."""

import grp
import os
import stat
import subprocess
from pathlib import Path

import pytest

from facefusion_ros.app import doctor

pytestmark = pytest.mark.hardware

DEPLOY = Path(__file__).parents[2] / 'deploy'
AS_THE_SERVICE = ('setpriv', '--reuid=facefusion', '--regid=facefusion', '--init-groups')


def owner(path):
    """Group and permissions of a path, such as ('video', '0660')."""
    found = Path(path).stat()
    return grp.getgrgid(found.st_gid).gr_name, f'{stat.S_IMODE(found.st_mode):04o}'


@pytest.fixture(scope='module', autouse=True)
def _rules():
    """Install what deploy/install puts on a machine, and make its user; the guest forgets both."""
    subprocess.run([DEPLOY / 'install'], env={**os.environ, 'DESTDIR': '/run/installed'}, check=True)
    Path('/run/udev/rules.d').mkdir(parents=True, exist_ok=True)
    target = Path('/run/udev/rules.d/70-facefusion.rules')
    target.write_bytes(Path('/run/installed/etc/udev/rules.d/70-facefusion.rules').read_bytes())
    subprocess.run(['systemd-sysusers', '/run/installed/etc/sysusers.d/facefusion.conf'], check=True)
    subprocess.run(['udevadm', 'control', '--reload'], check=True)
    subprocess.run(['udevadm', 'trigger', '--subsystem-match=i2c-dev'], check=True)
    yield
    target.unlink()
    subprocess.run(['udevadm', 'control', '--reload'], check=True)


def reached():
    return [doctor._cameras(), doctor._displays(), doctor._i2c()]


def test_the_user_of_the_service_reaches_camera_screen_and_bus(modules, as_user):
    modules.load('vivid', n_devs=1, node_types=0x1)
    modules.load('bochs')
    modules.load('i2c-dev')
    modules.load('i2c-stub', chip_addr=[0x44])
    camera, screen = max(Path('/dev').glob('video*')), Path('/dev/dri/card0')
    bus = next(
        Path('/dev', path.name)
        for path in Path('/sys/class/i2c-dev').iterdir()
        if 'SMBus stub' in (path / 'name').read_text()
    )
    assert owner(camera) == ('video', '0660')
    assert owner(screen) == ('video', '0660')
    assert owner(bus) == ('i2c', '0660')
    assert not Path('/dev/v4l/camera').exists(), 'vivid is no USB camera'
    findings = reached()
    assert all(finding.present for finding in findings)
    assert all(str(path) in finding.text for path, finding in zip((camera, screen, bus), findings, strict=True))
    assert as_user('facefusion', reached) == findings
    assert not any(finding.present for finding in as_user('nobody', reached))


def test_the_user_of_the_service_sets_up_a_sensor_with_a_kernel_driver(modules):
    modules.load('i2c-stub', chip_addr=[0x44])
    modules.load('opt3001')
    adapter = next(
        path for path in Path('/sys/bus/i2c/devices').glob('i2c-*') if 'SMBus stub' in (path / 'name').read_text()
    )
    (adapter / 'new_device').write_text('opt3001 0x44')
    try:
        modules.settle()
        folder = next(Path('/sys/bus/iio/devices').glob('iio:device*'))
        assert owner(Path('/dev', folder.name)) == ('i2c', '0660')
        setting = folder / 'in_illuminance_integration_time'
        assert owner(setting) == ('i2c', '0664')
        subprocess.run([*AS_THE_SERVICE, 'sh', '-c', f'echo 0.1 > {setting}'], check=True)
        assert float(setting.read_text()) == 0.1
    finally:
        (adapter / 'delete_device').write_text('0x44')
