"""Quality of service, the same everywhere.

Drivers and stages publish reliably, because a reliable publisher serves every subscriber; those who consume a stream
take best effort with depth 1, so that the newest message replaces one that waits (REP-2003, image_pipeline's policy).
The depth is explicit, because the system default differs between middlewares.
"""

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy


def _keep_last(depth: int, reliability: ReliabilityPolicy) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability, durability=DurabilityPolicy.VOLATILE
    )


PUBLISH = _keep_last(2, ReliabilityPolicy.RELIABLE)
"""What every stage and driver publishes with."""

NEWEST = _keep_last(1, ReliabilityPolicy.BEST_EFFORT)
"""What a stage takes frames with: one may wait, and a newer one takes its place."""

SAMPLES = _keep_last(50, ReliabilityPolicy.BEST_EFFORT)
"""What sensor samples are taken with, where every one counts and a short burst must not lose any."""
