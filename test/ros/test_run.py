"""How a process of nodes starts and ends."""

import subprocess
import sys
import threading
import time
from signal import SIGINT, SIGTERM

import pytest
import rclpy
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup

from facefusion_ros.ros.run import Spinner
from test.conftest import PATIENCE_S

NODES = ('camera', 'detector', 'swapper', 'blender', 'renderer', 'ambient_light', 'gyro', 'camera_control')

DEFECTIVE = """
import sys, threading
from facefusion_ros.ros.run import run
from facefusion_ros.ros.stage import StageNode

class Defective(StageNode):
    NAME = 'defective'

    def activate(self):
        if sys.argv[1] == 'callback':
            self.create_timer(0.01, self.fail)
        else:
            threading.Thread(target=self.fail, daemon=True).start()

    def fail(self):
        raise RuntimeError('this is a test')

    def destroy_node(self):
        print('let go', flush=True)
        super().destroy_node()

sys.exit(run(Defective))
"""


def test_signals_end_every_executable_cleanly(ros, listener, launch):
    """Twice, as Ctrl-C under a launcher reaches a process from the terminal and from the launcher."""
    apart = ros.namespace()
    with ros.process('pipeline', apart) as pipeline, ros.listener(apart) as other:
        processes = [pipeline, *(launch(name) for name in NODES)]
        for name in NODES:
            assert listener.state(name) == 'active'
        for name in NODES[:5]:
            assert other.state(name) == 'active'
        for number in (SIGINT, SIGINT):
            for process in processes[0::2]:
                process.send(number)
        for number in (SIGTERM, SIGINT):
            for process in processes[1::2]:
                process.send(number)
        assert {process.name: process.wait() for process in processes} == dict.fromkeys(('pipeline', *NODES), 0)
        for process in processes:
            assert 'Traceback' not in process.text
            assert 'rror' not in process.text


def test_a_callback_that_begins_as_the_end_is_asked_for_is_finished(ros):
    class Late(MutuallyExclusiveCallbackGroup):
        """Says when a callback is about to run, and holds it until let go."""

        begins, proceed = threading.Event(), threading.Event()

        def beginning_execution(self, entity):
            self.begins.set()
            assert self.proceed.wait(PATIENCE_S)
            return super().beginning_execution(entity)

    ran, defects = threading.Event(), []
    with ros.listener(ros.namespace()) as listening:
        node = rclpy.create_node(
            'ending', context=listening.node.context, namespace=listening.namespace, use_global_arguments=False
        )
        node.create_timer(0.01, ran.set, callback_group=Late())
        spinner = Spinner(node)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(threading, 'excepthook', lambda failed: defects.append(failed.exc_value))
            spinner.start()
            assert Late.begins.wait(PATIENCE_S)
            ending = threading.Thread(target=spinner.end)
            ending.start()
            time.sleep(0.05)  # the end is asked for before the callback has begun
            Late.proceed.set()
            ending.join(PATIENCE_S)
        assert not spinner.is_alive()
        assert ran.is_set()
        assert defects == []
        node.destroy_node()


def test_a_signal_that_comes_last_does_not_kill():
    """As when the interpreter is ending: a handler of Python is gone by then."""
    script = """
import os, signal, sys
from facefusion_ros.ros.run import run
from facefusion_ros.ros.stage import StageNode

class Brief(StageNode):
    NAME = 'brief'

    def activate(self):
        os.kill(os.getpid(), signal.SIGINT)

code = run(Brief)
for number in (signal.SIGINT, signal.SIGTERM):
    assert signal.getsignal(number) is signal.SIG_IGN
    os.kill(os.getpid(), number)
sys.exit(code)
"""
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, timeout=40)
    assert (done.returncode, done.stderr) == (0, '')


@pytest.mark.parametrize('where', ['callback', 'thread'])
def test_a_defect_ends_the_process_and_shows(where):
    done = subprocess.run([sys.executable, '-c', DEFECTIVE, where], capture_output=True, text=True, timeout=40)
    assert done.returncode == 1
    assert 'RuntimeError: this is a test' in done.stderr
    assert done.stdout == 'let go\n'


def test_nothing_is_taken_away_under_a_node_that_is_still_at_work():
    """Another node, which is idle, is let go of as ever."""
    script = """
import sys, time
from facefusion_ros.ros import run as running
from facefusion_ros.ros.stage import StageNode

class Idle(StageNode):
    NAME = 'idle'

    def stop(self):
        print(self.NAME, 'let go', flush=True)
        super().stop()

class Busy(Idle):
    NAME = 'busy'

    def activate(self):
        self.create_timer(0.01, self.work)

    def work(self):
        running.JOIN_S = 0.5
        ending.ask()
        time.sleep(1000)

ending = running.Ending()
running.Ending = lambda: ending
sys.exit(running.run(Idle, Busy))
"""
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, timeout=40)
    assert done.returncode == 1
    assert done.stdout == 'idle let go\n'
    assert 'facefusion_ros: busy did not end within 0.5 s' in done.stderr
    assert 'in work' in done.stderr  # where it is


def test_a_namespace_that_ros_refuses_is_told_in_one_line(ros, launch):
    with ros.process('detector', '/not-a-name') as process:
        assert process.wait() == 1
        ours = [line for line in process.text.splitlines() if line.startswith('facefusion_ros: ')]
    assert len(ours) == 1
    assert '/not-a-name' in ours[0]
    assert 'Traceback' not in process.text
    missing = launch('detector', '--params-file', '/nowhere/parameters.yaml')
    assert missing.wait() == 1
    assert '/nowhere/parameters.yaml' in missing.text
    assert 'Traceback' not in missing.text
