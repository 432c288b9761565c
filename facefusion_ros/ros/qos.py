"""Quality of service, the same everywhere.

Drivers and stages publish reliably, because a reliable publisher serves every subscriber; those who consume a stream
take best effort with depth 1, so that the newest message replaces one that waits (REP-2003, image_pipeline's policy).
The depth is explicit, because the system default differs between middlewares.
"""

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

PUBLISH = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=2,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.VOLATILE,
)
"""What every stage and driver publishes with."""

NEWEST = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.BEST_EFFORT,
    durability=DurabilityPolicy.VOLATILE,
)
"""What a stage takes frames with: one may wait, and a newer one takes its place."""

SAMPLES = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=50,
    reliability=ReliabilityPolicy.BEST_EFFORT,
    durability=DurabilityPolicy.VOLATILE,
)
"""What sensor samples are taken with, where every one counts and a short burst must not lose any."""

RECORD = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=30,
    reliability=ReliabilityPolicy.BEST_EFFORT,
    durability=DurabilityPolicy.VOLATILE,
)
"""What a recorder takes everything with; deeper, because it wants all of it."""
