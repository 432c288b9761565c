"""What tests of ROS nodes share: a domain of their own, an ear on it, nodes on threads and nodes as processes.

Deadlines are generous, because they only decide how long a failure takes; nothing here waits for time to pass.
"""

import itertools
import os
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from signal import SIG_IGN, SIGINT, SIGKILL, default_int_handler, getsignal, signal

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from hypothesis import settings
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions

from facefusion_ros.app.launch.packages import executable
from facefusion_ros.ros import qos, stage
from facefusion_ros.ros.run import Spinner

# The same examples on every machine and every day; `pytest --hypothesis-profile=search` looks for ones that fail.
settings.register_profile('repeatable', deadline=None, derandomize=True, database=None)
settings.register_profile('search', deadline=None, max_examples=2000)
settings.load_profile('repeatable')

PATIENCE_S = float(os.environ.get('PATIENCE_S', '40'))
LOOK_S = 0.02

# Before ROS is started, and inherited by every process of a test. The ports of higher domains may be taken.
os.environ['ROS_DOMAIN_ID'] = str(1 + os.getpid() % 100)
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
# What a shell runs behind `&` or nohup ignores SIGINT, and so would every process of a test.
if getsignal(SIGINT) is SIG_IGN:
    signal(SIGINT, default_int_handler)

_namespaces = itertools.count(1)


@pytest.fixture(scope='session', autouse=True)
def _elsewhere(tmp_path_factory):
    """Work in an empty folder: a process started in the checkout would import the sources, not what was installed."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp('elsewhere'))
    yield
    os.chdir(before)


def until(condition, what):
    """Wait until the condition holds and return what it gave; for states of the graph, which cannot be waited on."""
    end_s = time.monotonic() + PATIENCE_S
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end_s:
            pytest.fail(f'{what}: not within {PATIENCE_S:g} s')
        time.sleep(LOOK_S)


class Heard:
    """The messages of a topic, in the order in which they came."""

    def __init__(self, topic):
        self.topic = topic
        self.messages = []
        self._change = threading.Condition()

    def take(self, message):
        with self._change:
            self.messages.append(message)
            self._change.notify_all()

    def wait(self, count=1):
        """Wait for as many messages in all; returns them."""
        with self._change:
            if not self._change.wait_for(lambda: len(self.messages) >= count, PATIENCE_S):
                pytest.fail(f'{self.topic}: {len(self.messages)} of {count} messages came within {PATIENCE_S:g} s')
            return self.messages[:count]

    def more(self, count):
        """Wait for as many messages after those that are here now; returns the new ones."""
        before = len(self.messages)
        return self.wait(before + count)[before:]

    def until(self, predicate, since=0):
        """Wait for a message, from number ``since`` on, for which the predicate holds; returns it."""
        found = []

        def look():
            found.extend(message for message in self.messages[since:] if predicate(message))
            return found

        with self._change:
            if not self._change.wait_for(look, PATIENCE_S):
                newest = self.messages[-1] if self.messages else 'nothing at all'
                pytest.fail(f'{self.topic}: what was waited for did not come in {PATIENCE_S:g} s; newest: {newest}')
        return found[0]


class Listener:
    """A node of the test's own: hears topics, publishes, calls services."""

    def __init__(self, context, namespace):
        self.namespace = namespace
        self._clients = {}
        self.node = rclpy.create_node('listener', context=context, namespace=namespace, use_global_arguments=False)
        self._spinner = Spinner(self.node)
        self._spinner.start()

    def close(self):
        self._spinner.end()
        self.node.destroy_node()

    def hear(self, kind, topic, *, depth=1000):
        """Subscribe, reliably and deep enough to miss nothing."""
        heard = Heard(topic)
        heard.subscription = self.node.create_subscription(kind, topic, heard.take, QoSProfile(depth=depth))
        return heard

    def deafen(self, heard):
        """Subscribe no more."""
        self.node.destroy_subscription(heard.subscription)

    def speak(self, kind, topic, listeners=1):
        """Make a publisher and wait until somebody subscribes."""
        publisher = self.node.create_publisher(kind, topic, qos.PUBLISH)
        until(lambda: publisher.get_subscription_count() >= listeners, f'somebody who takes {topic}')
        return publisher

    def diagnostics(self, node):
        """Hear how a node of this namespace is; the messages are its DiagnosticStatus."""
        name = f'{self.namespace.strip("/")}/{node}: {node}'
        heard = Heard(f'/diagnostics of {node}')

        def sift(message):
            for status in message.status:
                if status.name == name:
                    heard.take(status)

        heard.subscription = self.node.create_subscription(DiagnosticArray, '/diagnostics', sift, 1000)
        return heard

    def call(self, kind, service, request):
        """Call a service and return its answer."""
        client = self._clients.get(service)
        if client is None:
            client = self._clients[service] = self.node.create_client(kind, service)
        if not client.wait_for_service(PATIENCE_S):
            pytest.fail(f'nobody offers {service}')
        answered = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: answered.set())
        if not answered.wait(PATIENCE_S):
            pytest.fail(f'no answer from {service}')
        return future.result()

    def set_parameters(self, node, **values):
        """Set parameters of a node through its service; returns the results, one each."""
        request = SetParameters.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        )
        return self.call(SetParameters, f'{node}/set_parameters', request).results

    def transit(self, node, transition):
        """Ask a lifecycle node for a transition by its name; returns whether it was made."""
        request = ChangeState.Request()
        request.transition.label = transition
        return self.call(ChangeState, f'{node}/change_state', request).success

    def state(self, node):
        """Return the name of a lifecycle node's state."""
        return self.call(GetState, f'{node}/get_state', GetState.Request()).current_state.label


class Process:
    """A node executable that runs."""

    def __init__(self, name, namespace, folder, parameters, arguments):
        # A sourced workspace says where it is installed; a virtual environment is its own prefix.
        environment = {'AMENT_PREFIX_PATH': os.environ.get('AMENT_PREFIX_PATH') or sys.prefix}
        command = [sys.executable, str(executable('facefusion_ros', name, environment)), '--ros-args']
        command += ['-r', f'__ns:={namespace}', *arguments]
        for parameter, value in parameters.items():
            text = str(value).lower() if isinstance(value, bool) else value
            command += ['-p', f'{parameter}:={text}']
        self.name = name
        self._out = folder / f'{name}.out'
        with self._out.open('wb') as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        self.pid = self._process.pid

    @property
    def text(self):
        """What it has printed."""
        return self._out.read_text(errors='replace')

    def send(self, number):
        """Send a signal."""
        self._process.send_signal(number)

    def wait(self):
        """Wait for its end; returns the exit code."""
        try:
            return self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            pytest.fail(f'{self.name} did not end within {PATIENCE_S:g} s; it said: {self.text}')

    def stop(self, number=SIGINT):
        """Ask it to end; returns the exit code."""
        self.send(number)
        return self.wait()

    def kill(self):
        """End it as the kernel does where memory is short."""
        if self._process.poll() is None:
            self.send(SIGKILL)
            self._process.wait()


class Ros:
    """Everything above, ready to be entered: each is a context manager."""

    def __init__(self, context, folder):
        self._context = context
        self._folder = folder

    @staticmethod
    def namespace():
        """Return a namespace that no other test has."""
        return f'/test_{next(_namespaces)}'

    @contextmanager
    def listener(self, namespace):
        listener = Listener(self._context, namespace)
        try:
            yield listener
        finally:
            listener.close()

    @contextmanager
    def node(self, kind, namespace, **parameters):
        """Run a node in this process, on an executor thread, as ``facefusion_ros.ros.run`` does."""
        node = kind(
            context=self._context,
            namespace=namespace,
            use_global_arguments=False,
            parameter_overrides=[Parameter(name, value=value) for name, value in parameters.items()],
        )
        defects = []

        class Watched(Spinner):
            def run(self):
                try:
                    super().run()
                except Exception as error:  # noqa: BLE001 - raised again below, where the test sees it
                    defects.append(error)

        spinner = Watched(node)
        try:
            node.started = node.autostart()
            spinner.start()
            yield node
        finally:
            spinner.end()
            node.stop()
            node.destroy_node()
        if defects:
            raise defects[0]

    @contextmanager
    def process(self, name, namespace, *arguments, **parameters):
        """Run a node executable; killed at the end where the test has not ended it."""
        folder = self._folder.mktemp(name)
        process = Process(name, namespace, folder, parameters, arguments)
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture(scope='session')
def ros(tmp_path_factory):
    """ROS, started once: its domain is this session's own, and nodes in this process share one participant."""
    os.environ['ROS_LOG_DIR'] = str(tmp_path_factory.mktemp('log'))

    context = rclpy.Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, 'REPORT_PERIOD_S', 0.1)  # nodes in this process: most tests of diagnostics wait for one
        yield Ros(context, tmp_path_factory)
    rclpy.shutdown(context=context)


@pytest.fixture
def namespace(ros):
    """A namespace that no other test has."""
    return ros.namespace()


@pytest.fixture
def listener(ros, namespace):
    """An ear in the test's namespace."""
    with ros.listener(namespace) as listening:
        yield listening


@pytest.fixture
def start(ros, namespace):
    """Run nodes of the test's namespace in this process: ``start(Camera, source='sim')``; returns the node."""
    with ExitStack() as running:
        yield lambda kind, **parameters: running.enter_context(ros.node(kind, namespace, **parameters))


@pytest.fixture
def launch(ros, namespace):
    """Run node executables in the test's namespace: ``launch('camera', source='sim')``; returns the Process."""
    with ExitStack() as running:
        yield lambda name, *arguments, **parameters: running.enter_context(
            ros.process(name, namespace, *arguments, **parameters)
        )


@pytest.fixture(scope='session')
def wait_until():
    """Wait for a condition: ``wait_until(lambda: ..., 'what is waited for')``."""
    return until


def _pools(namespace=''):
    stem = f'facefusion_ros-{os.getuid()}-{os.environ["ROS_DOMAIN_ID"]}{namespace.replace("/", ".")}.'
    return sorted(file.name for file in Path('/dev/shm').iterdir() if file.name.startswith(stem))


@pytest.fixture(scope='session')
def pools():
    """List the frame pools of a namespace that are in /dev/shm."""
    return _pools
