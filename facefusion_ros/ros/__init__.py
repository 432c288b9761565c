"""ROS 2: messages, parameters, QoS, clock, diagnostics."""
