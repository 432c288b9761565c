"""What trains the networks of facefusion_ros."""
