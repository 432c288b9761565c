import os
import signal
import socket

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from hypothesis import given
from hypothesis import strategies as st
from rclpy.parameter import Parameter

from facefusion_ros.app.watchdog import Heartbeats, Watchdog, tell_systemd
from facefusion_ros.errors import FacefusionError
from facefusion_ros.ros.run import Spinner

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


class Machine:
    """Processes that live and die, and a watchdog that hears of them."""

    def __init__(self):
        self.living = set()
        self.beats = Heartbeats(0.0, silent_s=20.0, start_s=900.0, alive=self.living.__contains__)

    def says(self, name, pid, now_s, level=OK, message='running'):
        self.living.add(pid)
        self.beats.heard(name, pid, level, message, now_s)


@pytest.fixture
def machine():
    return Machine()


def test_has_nothing_to_say_while_every_node_speaks(machine):
    for now_s in range(60):
        machine.says('camera', 10, now_s)
        machine.says('gyro', 11, now_s)
        assert machine.beats.complaint(now_s) == ''
    assert machine.beats.status() == '2 nodes run'


def test_complains_of_a_process_that_lives_and_is_silent(machine):
    machine.says('camera', 10, 0.0)
    machine.says('blender', 10, 0.0)
    machine.says('camera', 10, 25.0)
    assert machine.beats.complaint(25.0) == 'blender (process 10) lives and has been silent for 25 s'


def test_leaves_a_process_that_has_ended_to_the_launch_until_it_takes_too_long(machine):
    machine.says('camera', 10, 0.0)
    machine.living.clear()
    assert machine.beats.complaint(30.0) == ''
    assert machine.beats.status() == 'no node runs yet, 1 starting again'
    assert machine.beats.complaint(929.0) == ''
    assert machine.beats.complaint(931.0) == 'camera ended and has not come back for 901 s'


def test_forgets_the_end_of_a_node_that_came_back(machine):
    machine.says('camera', 10, 0.0)
    machine.living.clear()
    assert machine.beats.complaint(30.0) == ''
    machine.says('camera', 12, 40.0)
    assert machine.beats.complaint(50.0) == ''
    assert machine.beats.status() == '1 nodes run'


def test_gives_a_pipeline_time_to_start_but_not_for_ever(machine):
    assert machine.beats.complaint(899.0) == ''
    assert machine.beats.complaint(901.0) == 'no node has said anything for 901 s'


def test_tells_the_worst_that_a_node_says(machine):
    machine.says('detector', 10, 0.0, WARN, 'slow')
    machine.says('gyro', 11, 0.0, ERROR, 'nobody answers at 0x68')
    machine.says('camera', 10, 0.0)
    assert machine.beats.status() == 'gyro: nobody answers at 0x68'


@given(st.lists(st.tuples(st.sampled_from(['camera', 'gyro', 'blender']), st.floats(0.0, 3.0)), max_size=60))
def test_never_complains_of_nodes_that_speak_in_time(steps):
    machine = Machine()
    now_s = 0.0
    last_s = {}
    for name, pause_s in steps:
        now_s += pause_s
        machine.says(name, 10, now_s)
        last_s[name] = now_s
        if all(now_s - heard_s <= 20.0 for heard_s in last_s.values()):
            assert machine.beats.complaint(now_s) == ''
        else:
            assert 'silent' in machine.beats.complaint(now_s)


@pytest.fixture
def manager(tmp_path, monkeypatch):
    """What systemd hears: ``manager(text)`` waits for a message with that text."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / 'notify'))
        heard.settimeout(40.0)
        monkeypatch.setenv('NOTIFY_SOCKET', str(tmp_path / 'notify'))

        def until(text):
            while True:
                message = heard.recv(1000).decode()
                if text in message:
                    return message.split('\n')

        yield until


def test_sees_that_a_node_is_stuck_while_the_others_go_on(ros, namespace, launch, manager):
    running, stuck = launch('renderer', display='none'), launch('gyro', bus='sim')
    options = {'context': ros._context, 'namespace': namespace, 'use_global_arguments': False}
    watchdog = Watchdog(parameter_overrides=[Parameter('silent_s', value=3.0)], **options)
    spinner = Spinner(watchdog)
    spinner.start()
    try:
        assert manager('STATUS=2 nodes run')[:2] == ['READY=1', 'WATCHDOG=1']
        stuck.send(signal.SIGSTOP)
        said = manager('WATCHDOG=trigger')
        assert said[0].startswith(f'STATUS=gyro (process {stuck.pid}) lives and has been silent for')
        stuck.send(signal.SIGCONT)
        assert 'WATCHDOG=1' in manager('STATUS=2 nodes run')
        running.kill()
        assert 'WATCHDOG=1' in manager('STATUS=1 nodes run, 1 starting again')
    finally:
        spinner.end()
        watchdog.destroy_node()


@pytest.mark.parametrize('abstract', [False, True])
def test_tells_systemd_over_its_socket(tmp_path, monkeypatch, abstract):
    address = f'@facefusion-test-{os.getpid()}' if abstract else str(tmp_path / 'notify')
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f'\0{address[1:]}' if abstract else address)
        manager.settimeout(5.0)
        monkeypatch.setenv('NOTIFY_SOCKET', address)
        tell_systemd('WATCHDOG=1', 'STATUS=fünf Knoten')
        assert manager.recv(1000).decode().split('\n') == ['WATCHDOG=1', 'STATUS=fünf Knoten']


def test_tells_nobody_where_systemd_did_not_start_it(monkeypatch):
    monkeypatch.delenv('NOTIFY_SOCKET', raising=False)
    tell_systemd('WATCHDOG=1')


def test_says_so_where_systemd_does_not_listen(tmp_path, monkeypatch):
    monkeypatch.setenv('NOTIFY_SOCKET', str(tmp_path / 'nobody'))
    with pytest.raises(FacefusionError, match='systemd does not listen'):
        tell_systemd('WATCHDOG=1')
