"""What all nodes have in common: a lifecycle that starts itself, parameters from a table, and diagnostics."""

from __future__ import annotations

import os
import traceback
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn

from facefusion_ros.errors import FacefusionError
from facefusion_ros.ros import qos
from facefusion_ros.ros.messages import MessageError
from facefusion_ros.ros.parameters import Parameter, declare
from facefusion_ros.sensors.sampling import State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rclpy.lifecycle import State as LifecycleState
    from rclpy.publisher import Publisher
    from rclpy.qos import QoSProfile

    from facefusion_ros.sensors.sampling import Counters
    from facefusion_ros.sensors.sampling import Health as SensorHealth

OK = DiagnosticStatus.OK
WARN = DiagnosticStatus.WARN
ERROR = DiagnosticStatus.ERROR

AUTOSTART = Parameter('autostart', True, 'Whether the node configures and activates itself when it starts', fixed=True)
REPORT_PERIOD_S = 1.0


@dataclass(frozen=True, slots=True)
class Health:
    """How a node is, for ``/diagnostics``."""

    level: bytes = OK
    message: str = 'running'
    values: Mapping[str, object] = field(default_factory=dict)


class LazyPublisher:
    """A publisher whose message is made only while somebody subscribes."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    @property
    def wanted(self) -> bool:
        """Whether somebody subscribes."""
        return bool(self._publisher.get_subscription_count())

    def publish(self, make: Callable[[], Any]) -> None:
        """Publish what ``make`` returns, if it is wanted."""
        if self.wanted:
            self._publisher.publish(make())


class StageNode(LifecycleNode):
    """A lifecycle node of this package.

    A subclass names its parameters in ``TABLE`` and overrides ``configure`` (make what needs no input), ``activate``
    (start to take input), ``change`` and ``health``. What it makes it hands to ``while_configured`` or
    ``while_active``, which let go of it again. A FacefusionError from configure or activate is logged as one line and
    fails the transition.
    """

    NAME: ClassVar[str]
    TABLE: ClassVar[Sequence[Parameter]] = ()

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - whatever rclpy's nodes take
        """Declare the parameters; ``options`` are those of ``rclpy.node.Node``. Raises ParameterError."""
        super().__init__(self.NAME, **options)
        self.failure: str | None = None
        self.state = 'unconfigured'
        self.while_configured = ExitStack()
        self.while_active = ExitStack()
        self.values: dict[str, Any] = {}
        self.values = declare(self, (AUTOSTART, *self.TABLE), self._apply)
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', qos.PUBLISH)
        self.create_timer(REPORT_PERIOD_S, self._report)

    # What a node overrides.

    def configure(self) -> None:
        """Make what the node works with; ``self.values`` holds the parameters."""

    def activate(self) -> None:
        """Start to work."""

    def change(self, values: Mapping[str, Any]) -> None:
        """Take parameters changed at run time (all of them, already merged); a FacefusionError refuses them."""

    def health(self) -> Health:
        """Say how the node is while it is active."""
        return Health()

    # What a node uses.

    @property
    def configured(self) -> bool:
        """Whether what ``configure`` makes is there."""
        return self.state in {'inactive', 'active'}

    def advertise(self, kind: type, topic: str) -> Publisher:
        """Make a publisher that lives until cleanup."""
        publisher = self.create_publisher(kind, topic, qos.PUBLISH)
        self.while_configured.callback(self.destroy_publisher, publisher)
        return publisher

    def take(self, kind: type, topic: str, callback: Callable[[Any], None], profile: QoSProfile) -> None:
        """Subscribe until deactivated; a message that makes no sense is passed over."""

        def heed(message: Any) -> None:  # noqa: ANN401 - of any type
            try:
                callback(message)
            except MessageError as error:
                self.get_logger().warning(f'{topic}: {error}', throttle_duration_sec=5.0)

        self.while_active.callback(self.destroy_subscription, self.create_subscription(kind, topic, heed, profile))

    def now_ns(self) -> int:
        """Return the ROS clock's time, nanoseconds."""
        return int(self.get_clock().now().nanoseconds)

    def pool_name(self, what: str) -> str:
        """Name a frame pool so that pipelines of other domains and namespaces have others."""
        domain = os.environ.get('ROS_DOMAIN_ID') or '0'
        return f'{domain}{self.get_namespace().rstrip("/")}/{what}'

    # The lifecycle.

    def autostart(self) -> bool:
        """Configure and activate, unless told not to; False where that fails, which is then logged."""
        transitions = (self.trigger_configure, self.trigger_activate) if self.values['autostart'] else ()
        return all(transition() == TransitionCallbackReturn.SUCCESS for transition in transitions)

    def stop(self) -> None:
        """Deactivate and clean up, whatever the state."""
        self.while_active.close()
        self.while_configured.close()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle callback."""
        return self._transition('inactive', self.configure) or super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle callback."""
        return self._transition('active', self.activate) or super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle callback."""
        return self._transition('inactive', self.while_active.close) or super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle callback."""
        return self._transition('unconfigured', self.while_configured.close) or super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle callback."""
        return self._transition('finalized', self.stop) or super().on_shutdown(state)

    def _transition(self, state: str, act: Callable[[], None]) -> TransitionCallbackReturn | None:
        try:
            act()
        except Exception as error:  # noqa: BLE001 - rclpy would pass over it without a word
            if isinstance(error, FacefusionError):
                self.failure = str(error)
                self.get_logger().error(self.failure)
            else:
                self.failure = f'mistake in the {self.NAME}, please report it: {error!r}'
                self.get_logger().error(traceback.format_exc())
            (self.while_configured if state == 'inactive' else self.while_active).close()
            return TransitionCallbackReturn.FAILURE
        self.state = state
        self.failure = None
        return None

    # Parameters and diagnostics.

    def _apply(self, changed: Mapping[str, Any]) -> None:
        if not self.values:
            return
        merged = {**self.values, **changed}
        self.change(merged)
        self.values = merged

    def _report(self) -> None:
        if self.state == 'active':
            health = self.health()
        elif self.failure:
            health = Health(ERROR, self.failure)
        else:
            health = Health(message=self.state)
        status = DiagnosticStatus(
            level=health.level,
            name=f'{self.get_fully_qualified_name().lstrip("/")}: {self.NAME}',
            message=health.message,
            hardware_id=str(os.getpid()),
            values=[KeyValue(key=key, value=str(value)) for key, value in health.values.items()],
        )
        array = DiagnosticArray(status=[status])
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)


def sampling_health(health: SensorHealth, counters: Counters, values: Mapping[str, object] | None = None) -> Health:
    """Say how a sensor is that a sampling loop reads."""
    level = {State.OK: OK, State.RECOVERING: WARN, State.FAILED: ERROR}[health.state]
    counts = {'readings': counters.readings, 'recoveries': counters.recoveries}
    errors = {f'errors {kind}': count for kind, count in counters.errors.items()}
    return Health(level, health.reason or health.state.value, {**counts, **errors, **(values or {})})
