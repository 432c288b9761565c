"""A digital human for a robot or a vehicle, as ROS 2 nodes and as a library."""

__version__ = '0.1.0'
