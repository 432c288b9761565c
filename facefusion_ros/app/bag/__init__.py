"""Bags: MCAP recordings of ROS 2 topics, written and read without ROS."""
